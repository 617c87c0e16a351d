"""Visual question answering (section 4.2.3): a decoder behind the locator.

The question is the locator's text; the decoder looks at E_L^T and E_L^G, its
fused words and regions. Axes: B questions, N tokens of a question, A answers,
M tokens of an answer, C answers of the list, K of them ranked, D width.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models import config
from slan_jax.models.locator import Located
from slan_jax.models.memory import Memory, answer_memory
from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.objective import language
from slan_jax.tasks import decoding, retrieval
from slan_jax.tasks.config import Batch, Marks, Objective, Vqa
from slan_jax.tasks.fused import region_term
from slan_jax.tasks.microbatch import microbatched
from slan_jax.tasks.parameters import init_model
from slan_jax.tasks.task import Metrics, Task


def make_task(
  cfg: config.Slan,
  objective: Objective,
  options: Vqa,
  batch: Batch,
  marks: Marks,
) -> Task:
  """Question answering: L_ds weighs each answer by how many gave it.

  Args:
    cfg: the model.
    objective: gives the weight and switches of L_reg.
    options: answers of a row, and how they are found.
    batch: the global batch.
    marks: ids of the special tokens.

  Returns:
    A `Task` that predicts `rank` and `answer`.
  """
  model = Slan(cfg)
  return Task(
    name="vqa",
    batch_spec=batch_spec(cfg, options, batch),
    init=lambda key: (init_model(model, batch.max_length, key), {}),
    loss=functools.partial(_loss, model, objective, options, batch),
    predict=predictions(model, options, marks),
    stages=(),
  )


def batch_spec(
  cfg: config.Slan, options: Vqa, batch: Batch
) -> dict[str, jax.ShapeDtypeStruct]:
  """Names, shapes and types of one global batch."""
  b, n, s = batch.size, batch.max_length, cfg.image_size
  a, m = options.answers, options.answer_length
  spec = jax.ShapeDtypeStruct
  return {
    "image": spec((b, s, s, 3), jnp.uint8),
    "text": spec((b, n), jnp.int32),
    "text_mask": spec((b, n), bool),
    "answers": spec((b, a, m), jnp.int32),
    "answers_mask": spec((b, a, m), bool),
    "answer_weight": spec((b, a), jnp.float32),
  }


def predictions(model: Slan, options: Vqa, marks: Marks) -> dict[str, Callable]:
  """What evaluation asks.

  Returns:
    encode_image; `rank`: (params, images, text, text_mask, answers,
    answers_mask) -> rows of the list, the best first, and their log
    probabilities [B, K]; `answer`: (params, images, text, text_mask, rows) ->
    `decoding.Text`, with the questions' numbers in the whole data set.
  """
  return {
    "encode_image": retrieval.predictions(model)["encode_image"],
    "rank": functools.partial(_rank, model, options, marks),
    "answer": functools.partial(_answer, model, options, marks),
  }


def _look(call, image: ImageState, text: TextState) -> tuple[Located, Memory]:
  """Locates what the question names: [E_L^T ; E_L^G] and its mask."""
  located = call(image, text, method="locate")
  return located, answer_memory(image, text, located)


def _loss(
  model: Slan,
  objective: Objective,
  options: Vqa,
  shape: Batch,
  params: dict[str, Any],
  ema: dict[str, Any],
  carry: Any,
  batch: dict[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array,
  stage: int,
) -> tuple[jax.Array, tuple[Metrics, Any]]:
  """Weighted cross entropy of the answers; see `Task.loss`.

  As BLIP: the words of an answer are summed, its weight is the share of people
  who gave it, and questions are averaged.
  """
  del ema, key, step, stage
  batch = constrain_batch(batch)
  call = functools.partial(model.apply, {"params": params["slan"]})
  most = options.answers

  def rows(pixels, ids, mask, answers, answers_mask):
    image = call(pixels, method="encode_image")
    text = call(ids, mask, method="encode_text")
    located, memory = _look(call, image, text)
    answers, answers_mask, *memory = (
      *(x.reshape(-1, x.shape[-1]) for x in (answers, answers_mask)),
      *(jnp.repeat(x, most, axis=0) for x in memory),
    )
    logits = call(answers, answers_mask, *memory, method="generate")
    losses = language.token_losses(
      logits[:, :-1], answers[:, 1:], label_smoothing=options.smoothing
    )
    losses = jnp.sum(jnp.where(answers_mask[:, 1:], losses, 0.0), axis=-1)
    return losses.reshape(-1, most), image.regions, located

  losses, regions, located = microbatched(rows, shape.microbatches)(
    *(
      batch[name]
      for name in ("image", "text", "text_mask", "answers", "answers_mask")
    )
  )
  count = jnp.float32(losses.shape[0])
  weighted = jnp.sum(losses * batch["answer_weight"])
  metrics = {"answer": (weighted, count)}
  total = weighted / count
  if objective.reg:
    metrics["reg"] = region_term(objective, regions, located)
    total += objective.reg * metrics["reg"][0] / metrics["reg"][1]
  return total, (metrics, carry)


def _rank(
  model: Slan,
  options: Vqa,
  marks: Marks,
  params: dict[str, Any],
  image: ImageState,
  text: jax.Array,
  text_mask: jax.Array,
  answers: jax.Array,
  answers_mask: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """The answers of a list with the largest probability, as BLIP ranks them.

  The probability of their first token picks `rank_first` of them, that of the
  whole answer, [SEP] included, orders these. `rank_chunk` of them are read
  at a time; what the decoder looks at is projected once.

  Args:
    model: the model.
    options: how many are read, and how many at a time.
    marks: ids of the special tokens.
    params: of the task.
    image: states of the pictures, one per question.
    text: [B, N] int32, the questions.
    text_mask: [B, N] bool.
    answers: [C, M] int32, [CLS] answer [SEP] [PAD].
    answers_mask: [C, M] bool.

  Returns:
    [B, K] int32 rows of the list, the most probable first, and [B, K] float32
    log probabilities.
  """
  call = functools.partial(model.apply, {"params": params["slan"]})
  batch, length = text.shape[0], answers.shape[1]
  kept = min(options.rank_first, answers.shape[0])
  chunk = min(options.rank_chunk, kept)
  text = call(text, text_mask, method="encode_text")
  _, memory = _look(call, image, text)
  begin = jnp.full((batch, 1), marks.cls, jnp.int32)
  logits, cache = call(begin, *memory, longest=length, method="start_text")
  first = jax.nn.log_softmax(logits[:, 0], axis=-1)
  best, rows = jax.lax.top_k(jnp.take(first, answers[:, 1], axis=1), kept)
  # The last chunk is filled up with its last answer.
  chunks = -(-kept // chunk)
  filled = jnp.minimum(jnp.arange(chunks * chunk), kept - 1)
  cut = rows[:, filled].reshape(batch, chunks, chunk).swapaxes(0, 1)
  repeat = functools.partial(jnp.repeat, repeats=chunk)
  cache = {
    "layers": jax.tree.map(lambda x: repeat(x, axis=1), cache["layers"]),
    "states_mask": repeat(cache["states_mask"], axis=0),
    "index": cache["index"],
  }

  def read(chosen: jax.Array) -> jax.Array:
    ids = answers[chosen].reshape(-1, length)
    mask = answers_mask[chosen].reshape(-1, length)
    logits, _ = call(ids[:, 1:-1], cache, method="next_text")
    losses = language.token_losses(logits, ids[:, 2:], label_smoothing=0.0)
    losses = jnp.sum(jnp.where(mask[:, 2:], losses, 0.0), axis=-1)
    return -losses.reshape(batch, chunk)

  rest = jax.lax.map(read, cut).swapaxes(0, 1).reshape(batch, -1)[:, :kept]
  log_p, order = jax.lax.top_k(best + rest, kept)
  return jnp.take_along_axis(rows, order, axis=1), log_p


def _answer(
  model: Slan,
  options: Vqa,
  marks: Marks,
  params: dict[str, Any],
  image: ImageState,
  text: jax.Array,
  text_mask: jax.Array,
  rows: jax.Array,
) -> decoding.Text:
  """Answers in any words, by beam search or nucleus sampling."""
  call = functools.partial(model.apply, {"params": params["slan"]})
  text = call(text, text_mask, method="encode_text")
  _, memory = _look(call, image, text)
  begin = jnp.full((text.mask.shape[0], 1), marks.cls, jnp.int32)
  return decoding.write(
    model,
    params["slan"],
    begin,
    *memory,
    marks=marks,
    options=options.write,
    keys=decoding.row_keys(rows),
  )
