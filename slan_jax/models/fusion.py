"""Eq. 1: regions and words attend to each other, in three forms.

Axes: B batch, R regions, N words, D width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models.layers import Mlp, MultiHeadAttention, gelu, masked_softmax
from slan_jax.ops.cross_attend import cross_attend

FORMS = ("literal", "bi_mha", "residual")
LAYER_SCALE = 1e-4  # GLIP's initial gain of a fused branch
CLAMP = 5e4  # GLIP's bound on raw scores


class Fusion(nn.Module):
  """Cross attention of Algorithm 1, line 4.

  Attributes:
    form: "literal" (Eq. 1, no parameters), "bi_mha" (GLIP: one score matrix
      with projections, pre-LN, residual, layer scale), "residual" (two
      pre-LN cross attentions with residuals and feed-forward blocks).
    heads: channel groups that attend apart.
    dtype: of the activations.
  """

  form: str
  heads: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self,
    regions: jax.Array,
    words: jax.Array,
    region_mask: jax.Array,
    word_mask: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """Fuses regions [B, R, D] and words [B, N, D]; padding never attends.

    Raises:
      ValueError: unknown form.
    """
    if self.form == "literal":
      return cross_attend(
        regions, words, region_mask, word_mask, heads=self.heads
      )
    if self.form == "bi_mha":
      return self._bi_mha(regions, words, region_mask, word_mask)
    if self.form == "residual":
      return self._residual(regions, words, region_mask, word_mask)
    raise ValueError(
      f"model.adaptor.fusion: unknown form {self.form!r}; one of {FORMS}"
    )

  def _residual(self, regions, words, region_mask, word_mask):
    def branch(x, other, mask, name):
      width = x.shape[-1]
      attended = MultiHeadAttention(
        width, self.heads, self.dtype, name=f"{name}_attention"
      )
      query = self._norm(f"{name}_norm")(x)
      x = x + attended(query, other, other, mask)
      mlp = Mlp(2 * width, gelu, self.dtype, name=f"{name}_mlp")
      return x + mlp(self._norm(f"{name}_mlp_norm")(x))

    region_keys = self._norm("region_key_norm")(regions)
    word_keys = self._norm("word_key_norm")(words)
    return (
      branch(regions, word_keys, word_mask, "region"),
      branch(words, region_keys, region_mask, "word"),
    )

  def _bi_mha(self, regions, words, region_mask, word_mask):
    width = regions.shape[-1]

    def project(x, name):
      y = nn.Dense(width, dtype=self.dtype, name=name)(x)
      return y.reshape(*x.shape[:-1], self.heads, -1)

    r, w = self._norm("region_norm")(regions), self._norm("word_norm")(words)
    score = jnp.einsum(
      "brhd,bnhd->bhrn",
      project(r, "region_query"),
      project(w, "word_key"),
      preferred_element_type=jnp.float32,
    )
    score = jnp.clip(score * (width // self.heads) ** -0.5, -CLAMP, CLAMP)
    to_words = masked_softmax(score, word_mask[:, None, None])
    to_regions = masked_softmax(
      jnp.swapaxes(score, -1, -2), region_mask[:, None, None]
    )

    def out(weights, value, name):
      y = jnp.einsum("bhqk,bkhd->bqhd", weights.astype(self.dtype), value)
      y = y.reshape(*y.shape[:2], width)
      gain = self.param(
        f"{name}_scale", nn.initializers.constant(LAYER_SCALE), (width,)
      )
      return gain.astype(self.dtype)[None, None] * nn.Dense(
        width, dtype=self.dtype, name=f"{name}_out"
      )(y)

    return (
      regions + out(to_words, project(w, "word_value"), "region"),
      words + out(to_regions, project(r, "region_value"), "word"),
    )

  def _norm(self, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(dtype=self.dtype, name=name)
