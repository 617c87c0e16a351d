"""Neighbour similarities: ours against torchvision's RoIAlign, on the CPU.

  python -m benchmarks.neighbours --output FILE.json

At the paper's shape (224 px at stride 4, D = 768): s_j of all neighbours,
forward, and forward with the gradients of features and words. torchvision
pools every neighbour to 7 x 7 bins, averages them and multiplies with the
words; its RoIAlign has no gradient for boxes, so a row of its own shows what
ours costs with the gradient of the centres.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision

from benchmarks import timing
from slan_jax.ops.cells import neighbour_boxes
from slan_jax.ops.neighbours import neighbour_similarity

BATCH, REGIONS, WORDS, WIDTH, SIDE = 4, 10, 30, 768, 56
GRID, WINDOW, ROI_SIZE, SAMPLING_RATIO = 3, 0.5, 7, 2
ORDERS = ("similarity_first", "embed_first")
TOLERANCE = 1e-4  # of values and gradients whose scale is about 1


def main() -> None:
  timing.keep_pages()
  arguments = timing.parse(timing.make_parser(__doc__.splitlines()[0]))
  machine = timing.describe_machine()
  inputs = make_inputs()
  calls = {"torchvision": torch_calls(*inputs)}
  calls |= {order: jax_calls(*inputs, order=order) for order in ORDERS}
  check_agreement(calls)
  flat = {
    f"{name} {direction}": call
    for name, directions in calls.items()
    for direction, call in directions.items()
  }
  times = timing.time_interleaved(flat, repeats=arguments.repeats)
  ratios = {
    f"{order} {direction} vs torchvision": (
      times[f"torchvision {direction}"]["median_ms"]
      / times[f"{order} {direction}"]["median_ms"]
    )
    for order in ORDERS
    for direction in calls["torchvision"]
  }
  timing.write_report(
    arguments.output,
    machine=machine,
    versions=timing.read_versions("slan_jax", "jax", "torch", "torchvision"),
    rows=[{"name": name} | row for name, row in times.items()],
    ratios=ratios,
  )


def make_inputs() -> tuple[np.ndarray, ...]:
  """Features, centres inside the image, words and a cotangent of s_j."""
  rng = np.random.default_rng(0)
  shapes = (
    (BATCH, SIDE, SIDE, WIDTH),
    (BATCH, WORDS, WIDTH),
    (BATCH, REGIONS, GRID**2),
  )
  features, words, cotangent = (rng.normal(size=shape) for shape in shapes)
  centres = rng.uniform(0.2, 0.8, (BATCH, REGIONS, 2))
  words /= WIDTH**0.5  # similarities of the order of 1
  arrays = (features, centres, words, cotangent)
  return tuple(array.astype(np.float32) for array in arrays)


def jax_calls(features, centres, words, cotangent, *, order):
  """Ours, jitted; each call returns arrays that are ready."""
  similarity = functools.partial(
    neighbour_similarity,
    word_mask=jnp.ones(words.shape[:2], bool),
    window=WINDOW,
    grid=GRID,
    roi_size=ROI_SIZE,
    sampling_ratio=SAMPLING_RATIO,
    order=order,
  )

  def loss(features, centres, words):
    values = similarity(features, centres, words)
    return (values * cotangent).sum(), values

  arrays = tuple(map(jnp.asarray, (features, centres, words)))

  def bind(function):
    jitted = jax.jit(function)
    return lambda: jax.block_until_ready(jitted(*arrays))

  return {
    "forward": bind(similarity),
    "forward+backward": bind(jax.grad(loss, (0, 2), has_aux=True)),
    "forward+backward with boxes": bind(
      jax.grad(loss, (0, 1, 2), has_aux=True)
    ),
  }


def torch_calls(features, centres, words, cotangent):
  """torchvision's RoIAlign, mean over bins, einsum, max over words."""
  cells = neighbour_boxes(jnp.asarray(centres), window=WINDOW, grid=GRID)
  low = (cells[..., :2] - cells[..., 2:] / 2) * SIDE
  high = (cells[..., :2] + cells[..., 2:] / 2) * SIDE
  corners = np.array(jnp.concatenate([low, high], axis=-1))
  rois = [torch.from_numpy(boxes.reshape(-1, 4)) for boxes in corners]
  maps = torch.from_numpy(features.transpose(0, 3, 1, 2).copy())
  words, cotangent = torch.from_numpy(words), torch.from_numpy(cotangent)

  def similarity(maps, words):
    pooled = torchvision.ops.roi_align(
      maps,
      rois,
      output_size=ROI_SIZE,
      spatial_scale=1.0,
      sampling_ratio=SAMPLING_RATIO,
      aligned=True,
    )
    neighbours = pooled.mean((2, 3)).reshape(BATCH, -1, WIDTH)
    values = torch.einsum("bnd,btd->bnt", neighbours, words).amax(-1)
    return values.reshape(BATCH, REGIONS, GRID**2)

  def forward():
    with torch.no_grad():
      return similarity(maps, words)

  def backward():
    leaves = maps.requires_grad_(True), words.requires_grad_(True)
    values = similarity(*leaves)
    return torch.autograd.grad((values * cotangent).sum(), leaves), values

  return {"forward": forward, "forward+backward": backward}


def check_agreement(calls) -> None:
  """Stops unless values and gradients agree within TOLERANCE."""
  peer = calls["torchvision"]
  (peer_maps, peer_words), _ = peer["forward+backward"]()
  expected = (
    peer["forward"]().numpy(),
    peer_maps.numpy().transpose(0, 2, 3, 1),
    peer_words.numpy(),
  )
  for order in ORDERS:
    gradients, _ = calls[order]["forward+backward"]()
    for ours, theirs in zip((calls[order]["forward"](), *gradients), expected):
      difference = float(np.abs(np.asarray(ours) - theirs).max())
      if difference > TOLERANCE:
        raise SystemExit(f"{order} differs from torchvision by {difference}")


if __name__ == "__main__":
  main()
