"""Natural language visual reasoning (section 4.2.4): is a statement about two
pictures true?

Each picture is located with the statement by the same model; one
cross-attention layer reads both, and a two-layer classifier decides. The paper
says "a cross-attention layer" and "a binary classification module".

Axes: B pairs, K states of a picture, N words, D width.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models import config
from slan_jax.models.layers import Mlp, MultiHeadAttention, gelu, layer_norm
from slan_jax.models.slan import Slan
from slan_jax.objective.matching import matching_accuracy, matching_loss
from slan_jax.tasks.microbatch import check_parts, microbatched
from slan_jax.tasks.parameters import init_model
from slan_jax.tasks.task import Metrics, Task

HEAD = "nlvr2"  # the subtree of parameters that this adds
SIDES = 2  # left and right


class PairHead(nn.Module):
  """Decides from the states of both pictures.

  Attributes:
    heads: of the attention.
    dtype: of the activations.
  """

  heads: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, statement: jax.Array, states: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Judges.

    Args:
      statement: [B, D], [CLS] of the statement alone.
      states: [B, 2, K, D], regions and words of each picture.
      mask: [B, 2, K] bool.

    Returns:
      [B, 2] float32 logits, false and true.
    """
    width = statement.shape[-1]
    side = self.param("side", nn.initializers.normal(0.02), (SIDES, width))
    states = states + side[None, :, None].astype(states.dtype)
    states = states.reshape(len(states), -1, width)
    norm = functools.partial(layer_norm, 1e-6, self.dtype)
    attention = MultiHeadAttention(
      width, self.heads, self.dtype, name="attention"
    )
    query, memory = statement[:, None], norm("memory_norm")(states)
    mask = mask.reshape(len(mask), -1)
    x = query + attention(norm("query_norm")(query), memory, memory, mask)
    x += Mlp(2 * width, gelu, self.dtype, name="mlp")(norm("mlp_norm")(x))
    x = norm("out_norm")(x)[:, 0]
    x = gelu(nn.Dense(width, dtype=self.dtype, name="hidden")(x))
    return nn.Dense(2, dtype=jnp.float32, name="out")(x.astype(jnp.float32))


def make_task(
  cfg: config.Slan, *, batch_size: int, microbatches: int, max_length: int
) -> Task:
  """Fine-tuning on statements about pairs.

  Args:
    cfg: the model.
    batch_size: statements of a global batch.
    microbatches: parts that the model sees it in.
    max_length: N, tokens of a statement.

  Returns:
    A `Task` that predicts decide: (params, image, text, text_mask) -> [B] log
    odds that the statement is true.

  Raises:
    ValueError: microbatches that do not divide the batch.
  """
  check_parts(batch_size, microbatches)
  model = Slan(cfg)
  head = PairHead(cfg.adaptor.heads, jnp.dtype(cfg.compute_dtype))
  side, spec = cfg.image_size, jax.ShapeDtypeStruct
  return Task(
    name="nlvr2",
    batch_spec={
      "image": spec((batch_size, SIDES, side, side, 3), jnp.uint8),
      "text": spec((batch_size, max_length), jnp.int32),
      "text_mask": spec((batch_size, max_length), bool),
      "label": spec((batch_size,), jnp.int32),
    },
    init=functools.partial(_init, model, head, max_length),
    loss=functools.partial(_loss, model, head, microbatches),
    predict={"decide": functools.partial(_decide, model, head)},
    stages=(),
  )


def _init(
  model: Slan, head: PairHead, max_length: int, key: jax.Array
) -> tuple[dict[str, Any], dict]:
  states = jnp.zeros((1, SIDES, 1, model.cfg.width))
  added = head.init(
    jax.random.fold_in(key, 1),
    states[:, 0, 0],
    states,
    jnp.ones(states.shape[:3], bool),
  )
  params = init_model(model, max_length, key)
  return params | {HEAD: added["params"]}, {}


def _logits(
  model: Slan,
  head: PairHead,
  params: Any,
  image: jax.Array,
  text: jax.Array,
  text_mask: jax.Array,
) -> jax.Array:
  """Logits [B, 2] of uint8 images [B, 2, S, S, 3] and statements [B, N]."""
  call = functools.partial(model.apply, {"params": params["slan"]})
  flat = image.reshape(-1, *image.shape[2:])
  images = call(constrain_batch(flat), method="encode_image")
  texts = call(text, text_mask, method="encode_text")
  both = jax.tree.map(lambda x: jnp.repeat(x, SIDES, axis=0), texts)
  located = call(images, both, method="locate")
  states = jnp.concatenate([located.regions, located.words], axis=1)
  mask = jnp.concatenate([images.regions["mask"], both.mask], axis=1)
  return head.apply(
    {"params": params[HEAD]},
    texts.words[:, 0],
    states.reshape(-1, SIDES, *states.shape[1:]),
    mask.reshape(-1, SIDES, mask.shape[-1]),
  )


def _decide(model: Slan, head: PairHead, params: Any, *inputs) -> jax.Array:
  logits = _logits(model, head, params, *inputs)
  return logits[:, 1] - logits[:, 0]


def _loss(
  model: Slan,
  head: PairHead,
  parts: int,
  params: dict[str, Any],
  ema: dict[str, Any],
  carry: dict,
  batch: dict[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array,
  stage: int,
) -> tuple[jax.Array, tuple[Metrics, dict]]:
  """Cross entropy of the statements; see `Task.loss`."""
  del ema, key, step, stage
  batch = constrain_batch(batch)
  logits = microbatched(functools.partial(_logits, model, head, params), parts)(
    batch["image"], batch["text"], batch["text_mask"]
  )
  decided = logits, batch["label"], jnp.ones(len(logits), bool)
  total, count = matching_loss(*decided)
  metrics = {
    "nlvr2": (total, count),
    "accuracy": matching_accuracy(*decided),
  }
  return total / count, (metrics, carry)
