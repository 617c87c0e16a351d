"""DETR whose class prediction became a region saliency (section 3.2).

Axis letters: B batch, h w map sides, M = h * w cells, Q queries, D width of
the detector. Boxes are cx, cy, w, h in [0, 1] of the image.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config, layers, position
from slan_jax.ops.roi_align import roi_align

_EPSILON = 1e-5  # of LayerNorm, as DETR
_BINS = 2  # per side of a reference box, whose content starts a query


class EncoderLayer(nn.Module):
  """Self-attention and feed-forward, post-LN; positions join query and key."""

  width: int
  heads: int
  mlp_width: int
  dtype: layers.Dtype

  @nn.compact
  def __call__(
    self, x: jax.Array, position: jax.Array, mask: jax.Array | None
  ) -> tuple[jax.Array, None]:
    """Args: x [B, M, D]; position [B, M, D]; mask bool [B, M] or None."""
    attention = layers.MultiHeadAttention(
      self.width, self.heads, self.dtype, name="attention"
    )
    placed = x + position
    x = self._add(x, attention(placed, placed, x, mask), "attention_norm")
    mlp = layers.Mlp(self.mlp_width, nn.relu, self.dtype, name="mlp")
    return self._add(x, mlp(x), "mlp_norm"), None

  def _add(self, x: jax.Array, y: jax.Array, name: str) -> jax.Array:
    return layers.layer_norm(_EPSILON, self.dtype, name)(x + y)


class DecoderLayer(nn.Module):
  """Self-attention of the queries, cross attention to cells, feed-forward."""

  width: int
  heads: int
  mlp_width: int
  dtype: layers.Dtype

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    query_position: jax.Array,
    memory: jax.Array,
    position: jax.Array,
    mask: jax.Array | None,
  ) -> tuple[jax.Array, None]:
    """One layer.

    Args:
      x: [B, Q, D].
      query_position: [B, Q, D].
      memory: [B, M, D] cells.
      position: [B, M, D] of the cells.
      mask: bool [B, M], True = image; or None.

    Returns:
      [B, Q, D] and None.
    """

    def attention(name: str) -> layers.MultiHeadAttention:
      return layers.MultiHeadAttention(
        self.width, self.heads, self.dtype, name=name
      )

    def add(x: jax.Array, y: jax.Array, name: str) -> jax.Array:
      return layers.layer_norm(_EPSILON, self.dtype, name)(x + y)

    placed = x + query_position
    x = add(x, attention("attention")(placed, placed, x), "attention_norm")
    y = attention("cross")(x + query_position, memory + position, memory, mask)
    x = add(x, y, "cross_norm")
    mlp = layers.Mlp(self.mlp_width, nn.relu, self.dtype, name="mlp")
    return add(x, mlp(x), "mlp_norm"), None


class Transformer(nn.Module):
  """DETR's encoder and decoder over the cells of a map."""

  detector: config.Detector
  dtype: layers.Dtype
  remat: str

  @nn.compact
  def __call__(
    self,
    cells: jax.Array,
    position: jax.Array,
    query_position: jax.Array,
    mask: jax.Array | None = None,
    content: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """States of the queries.

    Args:
      cells: [B, M, D].
      position: [B, M, D].
      query_position: [B, Q, D].
      content: [B, Q, D], what the queries know at first; None = nothing.
      mask: bool [B, M], True = image; None = all.

    Returns:
      States [B, Q, D] and encoded cells [B, M, D].
    """
    detector = self.detector
    sizes = detector.width, detector.heads, detector.mlp_width, self.dtype
    if detector.encoder_layers:
      encoder = layers.stack(
        EncoderLayer,
        detector.encoder_layers,
        self.remat,
        in_axes=(nn.broadcast,) * 2,
      )
      cells, _ = encoder(*sizes, name="encoder")(cells, position, mask)
    decoder = layers.stack(
      DecoderLayer,
      detector.decoder_layers,
      self.remat,
      in_axes=(nn.broadcast,) * 4,
    )
    if content is None:
      content = jnp.zeros_like(query_position)
    states, _ = decoder(*sizes, name="decoder")(
      content, query_position, cells, position, mask
    )
    norm = layers.layer_norm(_EPSILON, self.dtype, "decoder_norm")
    return norm(states), cells


class Detector(nn.Module):
  """G_0, S and query states of an image (Algorithm 1, line 1).

  `reference` "learned": learned queries, as DETR. "grid" (an addition: without
  labels, learned queries coincide): boxes are offsets from a grid of boxes, and
  a query starts with what lies in its box, as two-stage Deformable DETR's.
  """

  detector: config.Detector
  dtype: layers.Dtype
  remat: str

  @nn.compact
  def __call__(self, v: jax.Array) -> dict[str, jax.Array]:
    """Detects.

    Args:
      v: [B, h, w, C] global feature map V.

    Returns:
      boxes [B, Q, 4] float32, saliency_logit [B, Q] float32, states [B, Q, D].

    Raises:
      ValueError: unknown kind of reference.
    """
    detector = self.detector
    batch, height, columns, _ = v.shape
    width, queries = detector.width, detector.queries
    cells = nn.Dense(width, dtype=self.dtype, name="input")(v)
    place = position.sine_position_2d(height, columns, width)
    # On a grid the code of the place tells queries apart, not chance.
    init = nn.initializers.normal(0.02 if detector.reference == "grid" else 1.0)
    query = self.param("query", init, (queries, width))
    reference = content = None
    if detector.reference == "grid":
      reference = grid_references(queries, detector.reference_size)
      query = query + position.sine_position(reference[:, :2], width)
      content = self._content(cells, reference)
    elif detector.reference != "learned":
      raise ValueError(
        f"model.detector.reference: {detector.reference!r}; choose "
        '"learned" or "grid"'
      )

    def spread(x: jax.Array) -> jax.Array:
      x = x.reshape(1, -1, width).astype(self.dtype)
      return jnp.broadcast_to(x, (batch, *x.shape[1:]))

    states, _ = Transformer(
      detector, self.dtype, self.remat, name="transformer"
    )(
      cells.reshape(batch, -1, width),
      spread(place),
      spread(query),
      content=content,
    )
    head = nn.Dense(1, dtype=jnp.float32, name="saliency")
    return {
      "boxes": self._boxes(states, reference),
      "saliency_logit": head(states.astype(jnp.float32))[..., 0],
      "states": states,
    }

  def _content(self, cells: jax.Array, reference: jax.Array) -> jax.Array:
    """What lies in each reference box, and where: [B, Q, D]."""
    boxes = jnp.broadcast_to(reference, (cells.shape[0], *reference.shape))
    bins = roi_align(cells, boxes, output_size=_BINS, sampling_ratio=2)
    dense = nn.Dense(self.detector.width, dtype=self.dtype, name="content")
    return dense(bins.reshape(*bins.shape[:2], -1))

  def _boxes(self, states: jax.Array, reference: jax.Array | None) -> jax.Array:
    """Three-layer MLP and sigmoid: [B, Q, D] -> [B, Q, 4] float32."""
    width = self.detector.width
    x = states
    for i in (1, 2):
      x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"box{i}")(x))
    # Small first offsets keep the grid spread out until the losses speak.
    init = nn.initializers.normal(0.02)
    last = nn.Dense(4, dtype=jnp.float32, kernel_init=init, name="box3")
    logits = last(x.astype(jnp.float32))
    if reference is not None:
      logits = logits + jax.scipy.special.logit(reference)[None]
    return jax.nn.sigmoid(logits)


def grid_references(queries: int, size: float) -> jax.Array:
  """Square boxes whose centres fill the image row by row.

  Args:
    queries: Q.
    size: side of a box, fraction of the image.

  Returns:
    [Q, 4] float32 boxes cx, cy, w, h; the last row of the grid may be short
    of boxes when Q is no product of near sides.
  """
  rows = round(math.sqrt(queries))
  columns = math.ceil(queries / rows)
  index = jnp.arange(queries)
  x = (index % columns + 0.5) / columns
  y = (index // columns + 0.5) / rows
  side = jnp.full((queries,), size, jnp.float32)
  return jnp.stack([x, y, side, side], axis=-1)
