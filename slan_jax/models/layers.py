"""Attention, feed-forward blocks, norms and layer stacking.

Axis letters: B batch, N queries, M keys, H heads, D width, L layers.
Parameters are float32; `dtype` is the type of the activations. Norms and
softmaxes are computed in float32 whatever `dtype` is.
"""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = jnp.dtype | type

# BERT draws from N(0, .02) at width 768; other widths keep the variance of
# a layer's output by keeping std * sqrt(width).
BERT_STD_768 = 0.02


def bert_std(width: int) -> float:
  """Standard deviation of BERT's initial weights, carried to any width."""
  return BERT_STD_768 * math.sqrt(768 / width)


def layer_norm(
  epsilon: float, dtype: Dtype, name: str | None = None
) -> nn.LayerNorm:
  """LayerNorm with two-pass float32 statistics, as torch computes it."""
  return nn.LayerNorm(
    epsilon=epsilon, dtype=dtype, use_fast_variance=False, name=name
  )


def l2_normalize(x: jax.Array, epsilon: float = 1e-6) -> jax.Array:
  """Unit vectors along the last axis, float32; finite gradient at zero.

  Args:
    x: [..., D] any float.
    epsilon: added to the squared norm: a zero vector stays zero.

  Returns:
    [..., D] float32.
  """
  x = x.astype(jnp.float32)
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(square + epsilon)


def masked_softmax(logits: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Softmax over the last axis in float32; rows without a True are zeros.

  Args:
    logits: [..., M].
    mask: bool, broadcastable to `logits` (same rank), True = takes part; or
      None.

  Returns:
    [..., M] float32.
  """
  logits = logits.astype(jnp.float32)
  if mask is None:
    return jax.nn.softmax(logits, axis=-1)
  # A finite floor instead of -inf keeps the gradient of empty rows finite.
  weights = jax.nn.softmax(jnp.where(mask, logits, -1e30), axis=-1)
  return jnp.where(mask, weights, 0.0)


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  mask: jax.Array | None,
  *,
  heads: int,
) -> jax.Array:
  """Scaled dot-product attention of projected inputs, by channel split.

  Args:
    query: [B, N, D].
    key: [B, M, D].
    value: [B, M, D].
    mask: bool [B, M] (keys) or [B, N, M], True = attended to; or None.
    heads: H, a divisor of D.

  Returns:
    [B, N, D]; zeros for queries that may attend to nothing.
  """

  def split(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)

  scale = (query.shape[-1] // heads) ** -0.5
  logits = jnp.einsum(
    "bnhd,bmhd->bhnm",
    split(query) * jnp.asarray(scale, query.dtype),
    split(key),
    preferred_element_type=jnp.float32,
  )
  if mask is not None:
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
  weights = masked_softmax(logits, mask).astype(value.dtype)
  mixed = jnp.einsum("bhnm,bmhd->bnhd", weights, split(value))
  return mixed.reshape(query.shape)


class MultiHeadAttention(nn.Module):
  """Attention with query, key, value and output projections.

  A query that may attend to nothing yields zeros, output bias included.
  """

  width: int
  heads: int
  dtype: Dtype
  kernel_init: Callable = nn.initializers.xavier_uniform()

  def setup(self) -> None:
    if self.width % self.heads:
      raise ValueError(
        f"attention: width {self.width} is not a multiple of {self.heads} heads"
      )
    dense = functools.partial(
      nn.Dense, self.width, dtype=self.dtype, kernel_init=self.kernel_init
    )
    self.query, self.key, self.value = dense(), dense(), dense()
    self.out = dense()

  def __call__(
    self,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Args as `attend`, before projection. Returns [B, N, width]."""
    return self.read(query, *self.project(key, value), mask)

  def project(
    self, key: jax.Array, value: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Projected keys and values, [B, M, width] each, as a cache keeps them."""
    return self.key(key), self.value(value)

  def read(
    self,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
  ) -> jax.Array:
    """Attention to projected keys and values. Returns [B, N, width]."""
    mixed = attend(self.query(query), key, value, mask, heads=self.heads)
    output = self.out(mixed)
    if mask is None:
      return output
    some = jnp.any(mask, axis=-1)
    some = some[:, None, None] if mask.ndim == 2 else some[..., None]
    return jnp.where(some, output, jnp.zeros((), output.dtype))


class Mlp(nn.Module):
  """Feed-forward block: dense, activation, dense."""

  width: int
  activation: Callable[[jax.Array], jax.Array]
  dtype: Dtype
  kernel_init: Callable = nn.initializers.xavier_uniform()

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Args: x [..., D]. Returns [..., D]."""
    dense = functools.partial(
      nn.Dense, dtype=self.dtype, kernel_init=self.kernel_init
    )
    hidden = self.activation(dense(self.width, name="up")(x))
    return dense(x.shape[-1], name="down")(hidden)


def gelu(x: jax.Array) -> jax.Array:
  """GELU by the error function, as BERT and ViT use it."""
  return jax.nn.gelu(x, approximate=False)


def remat(module: Callable, policy: str, **options) -> Callable:
  """A module whose activations are recomputed in the backward pass.

  Args:
    module: module class, or a function whose first argument is a module.
    policy: "none" keeps all activations, "dots" keeps the products with
      parameters, convolutions among them, "full" keeps the inputs only.
    **options: of `flax.linen.remat`.

  Returns:
    The wrapped module class or function.

  Raises:
    ValueError: unknown policy.
  """
  policies = {
    "dots": _products_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
  }
  if policy == "none":
    return module
  if policy not in policies:
    raise ValueError(
      f'remat: unknown policy {policy!r}; choose "none", "dots" or "full"'
    )
  return nn.remat(module, policy=policies[policy], **options)


def _products_saveable(primitive, *arguments, **parameters) -> bool:
  """What a norm or an activation makes of a product is cheap to make again."""
  if primitive is jax.lax.conv_general_dilated_p:
    return True
  dots = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
  return dots(primitive, *arguments, **parameters)


def stack(
  layer: type[nn.Module], layers: int, policy: str, *, in_axes: tuple = ()
) -> type[nn.Module]:
  """`layers` copies of a layer as one scan: parameters gain a leading L axis.

  Args:
    layer: module class whose call maps (carry, *arguments) to (carry, output).
    layers: L.
    policy: as in `remat`.
    in_axes: per argument, 0 (its leading axis is L) or `nn.broadcast`.

  Returns:
    Module class with the same call; its outputs gain a leading L axis.
  """
  return nn.scan(
    # A scan keeps XLA from merging the recomputation: no barrier is needed.
    remat(layer, policy, prevent_cse=False),
    variable_axes={"params": 0},
    split_rngs={"params": True},
    in_axes=in_axes,
    length=layers,
  )
