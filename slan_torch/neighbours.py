"""The K x K neighbourhood of a region: similarities and Eq. 2 offsets.

Letters: B batch, R regions, N words, D width, H W sides of the map, K grid,
J = K * K cells, row-major: cell k is row k // K and column k % K. Coordinates
are fractions of the image, x before y.
"""

import torch
from torch import Tensor

from slan_torch.layers import masked_softmax
from slan_torch.roi_align import interpolation_weights

_EMPTY = 1e-12  # squared norm under which a vector has no direction


def ranks(grid: int, device: torch.device) -> Tensor:
  """-(K // 2) .. K // 2, float32.

  Raises:
    ValueError: an even grid has no central cell.
  """
  if grid < 1 or grid % 2 == 0:
    raise ValueError(f"grid must be odd and positive, got {grid}")
  return torch.arange(grid, dtype=torch.float32, device=device) - grid // 2


def cell_centres(
  centres: Tensor, window: Tensor, grid: int
) -> tuple[Tensor, Tensor]:
  """x of the grid's columns and y of its rows.

  Args:
    centres: [B, R, 2].
    window: [B, R, 2] width and height of the neighbourhood.
    grid: K, odd.

  Returns:
    Two [B, R, K] float32.
  """
  step = ranks(grid, centres.device)
  x, y = (
    centres[..., axis, None].float() + step * (window / grid)[..., axis, None]
    for axis in (0, 1)
  )
  return x, y


def neighbour_mask(centres: Tensor, window: Tensor, grid: int) -> Tensor:
  """Which cells have their centre inside the image: bool [B, R, J]."""
  x, y = (
    (along >= 0.0) & (along <= 1.0)
    for along in cell_centres(centres, window, grid)
  )
  return (y[..., :, None] & x[..., None, :]).flatten(-2)


def neighbour_word_similarity(
  features: Tensor,
  centres: Tensor,
  words: Tensor,
  word_mask: Tensor,
  *,
  window: Tensor,
  grid: int,
  samples: int,
) -> Tensor:
  """Cosine of each neighbour, RoIAlign of its cell, with each word.

  Args:
    features: [B, H, W, D], F_i.
    centres: [B, R, 2].
    words: [B, N, D].
    word_mask: [B, N] bool.
    window: [B, R, 2].
    grid: K, odd.
    samples: of RoIAlign per side of a cell.

  Returns:
    [B, R, J, N] float32, 0 at masked words and outside the image.
  """
  sizes = window / grid
  x, y = cell_centres(centres, window, grid)
  rows, columns = (
    interpolation_weights(
      centre,
      sizes[..., axis, None].expand_as(centre),
      features.shape[2 - axis],
      1,
      samples,
    )[..., 0, :].to(features.dtype)
    for axis, centre in ((1, y), (0, x))
  )
  bands = torch.einsum("brih,bhwd->briwd", rows, features)
  cells = torch.einsum("brjw,briwd->brijd", columns, bands).float()
  cells = _unit(cells.flatten(2, 3))
  similarity = torch.einsum("brjd,bnd->brjn", cells, _unit(words.float()))
  inside = neighbour_mask(centres, window, grid)
  counts = inside[..., None] & word_mask[:, None, None]
  return similarity.masked_fill(~counts, 0.0)


def normalise_similarity(
  similarity: Tensor, valid: Tensor, mode: str, temperature: float
) -> Tensor:
  """Weights s_j of Eq. 2, [B, R, J]: "softmax" over the cells, or "raw"."""
  if mode == "softmax":
    return masked_softmax(similarity / temperature, valid)
  if mode != "raw":
    raise ValueError(f"model.adaptor.similarity: unknown {mode!r}")
  return similarity.masked_fill(~valid, 0.0)


def neighbour_offset(
  weight: Tensor, window: Tensor, grid: int, pitch: str, swap_axes: bool
) -> Tensor:
  """(dx, dy) of Eq. 2.

  Args:
    weight: [B, R, J], s_j.
    window: [B, R, 2].
    grid: K.
    pitch: "cell" (window / K) or "window".
    swap_axes: Eq. 2 to the letter, where dx runs over the rows.

  Returns:
    [B, R, 2] float32, fractions of the image.
  """
  if pitch not in ("cell", "window"):
    raise ValueError(f"model.adaptor.pitch: unknown {pitch!r}")
  step = window / grid if pitch == "cell" else window
  cells, rank = weight.unflatten(-1, (grid, grid)), ranks(grid, weight.device)
  right = torch.einsum("brij,j->br", cells, rank)
  down = torch.einsum("brij,i->br", cells, rank)
  if swap_axes:
    return torch.stack([down * step[..., 1], right * step[..., 0]], -1)
  return torch.stack([right * step[..., 0], down * step[..., 1]], -1)


def _unit(vectors: Tensor) -> Tensor:
  """Divided by the norm; a vector of zeros stays, with gradient 0."""
  square = vectors.square().sum(-1, keepdim=True)
  empty = square < _EMPTY
  inverse = square.masked_fill(empty, 1.0).rsqrt()
  return vectors * inverse.masked_fill(empty, 0.0)
