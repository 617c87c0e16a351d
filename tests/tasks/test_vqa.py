"""Question answering: losses and ranks against the decoder's training pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.slan import Slan
from slan_jax.tasks import vqa
from slan_jax.tasks.config import Batch, Marks, Vqa, Writing
from tests.models.small import LENGTH, small_config
from tests.slan_torch import pair

MARKS = Marks(**pair.TOKENS)
OPTIONS = Vqa(2, 4, 0.1, "rank", 3, 2, Writing("beam", 2, 0.9, 1, 3, 1.0))
BATCH = Batch(2, LENGTH, 0, mask_id=4, microbatches=1)
# [CLS] answer [SEP] [PAD], of one and of two tokens.
LIST = np.array(
  [[2, 7, 3, 0], [2, 8, 3, 0], [2, 7, 9, 3], [2, 6, 3, 0], [2, 8, 7, 3]],
  np.int32,
)


@pytest.fixture(scope="module")
def outputs():
  """One program: the batch, the loss, the ranks, and a plain reference.

  log_p [2, 5, 4, V] is that of every answer of the list after each question,
  by the training pass of the decoder, without a cache.
  """
  cfg, objective = small_config(
    "scenes", model__text__vocab_size=12, model__text__function_ids=(0, 1, 2, 3)
  )
  images, ids, mask = pair.inputs(cfg)
  answers = np.stack([LIST[[0, 2]], LIST[[4, 0]]])
  batch = {
    "image": images[:2],
    "text": ids[:2],
    "text_mask": mask[:2].astype(bool),
    "answers": answers,
    "answers_mask": answers != 0,
    "answer_weight": np.float32([[0.7, 0.3], [1.0, 0.0]]),
  }
  task = vqa.make_task(cfg, objective, OPTIONS, BATCH, MARKS)

  @jax.jit
  def run(params, batch, listed):
    call = functools.partial(Slan(cfg).apply, {"params": params["slan"]})
    image = call(batch["image"], method="encode_image")
    text = call(batch["text"], batch["text_mask"], method="encode_text")
    located = call(image, text, method="locate")
    states = jnp.concatenate([located.words, located.regions], axis=1)
    mask = jnp.concatenate([batch["text_mask"], image.regions["mask"]], axis=1)
    ids = jnp.tile(listed, (2, 1))
    states, mask = (jnp.repeat(x, len(LIST), axis=0) for x in (states, mask))
    logits = call(ids, ids != 0, states, mask, method="generate")
    loss = task.loss(
      params, {}, {}, batch, key=jax.random.key(0), step=jnp.int32(0), stage=0
    )
    texts = batch["text"], batch["text_mask"], listed, listed != 0
    ranks = task.predict["rank"](params, image, *texts)
    return jax.nn.log_softmax(logits, axis=-1), loss, ranks

  log_p, loss, ranks = run(pair.params(cfg), batch, LIST)
  log_p = np.asarray(log_p).reshape(2, len(LIST), 4, -1)
  return task, objective, batch, log_p, loss, ranks


def whole(log_p):
  """Log probability of each answer with its end: [2, 5]."""
  tokens = np.take_along_axis(
    log_p[:, :, :-1], np.tile(LIST[None, :, 1:, None], (2, 1, 1, 1)), axis=-1
  )[..., 0]
  return np.sum(np.where(LIST[None, :, 1:] != 0, tokens, 0.0), axis=-1)


def test_answers_are_weighed_by_who_gave_them(outputs):
  task, objective, batch, log_p, (total, (metrics, _)), _ = outputs
  assert {k: (v.shape, v.dtype) for k, v in task.batch_spec.items()} == {
    k: (v.shape, v.dtype) for k, v in batch.items()
  }
  smooth = 0.9 * whole(log_p)
  even = log_p.mean(-1)[:, :, :-1] * (LIST[None, :, 1:] != 0)
  smooth += 0.1 * even.sum(-1)
  wanted = 0.7 * smooth[0, 0] + 0.3 * smooth[0, 2] + smooth[1, 4]
  value, count = metrics["answer"]
  np.testing.assert_allclose(value, -wanted, rtol=1e-4)
  assert count == 2
  reg = objective.reg * metrics["reg"][0] / metrics["reg"][1]
  np.testing.assert_allclose(total, -wanted / 2 + reg, rtol=1e-4)


def test_ranks_are_those_of_every_answer_read_alone(outputs):
  *_, log_p, _, (rows, found) = outputs
  first = np.take_along_axis(
    log_p[:, :, 0], np.tile(LIST[None, :, 1:2], (2, 1, 1)), axis=-1
  )[..., 0]
  for question, wanted in enumerate(whole(log_p)):
    # Three answers have the likeliest first tokens; equal ones, in their order.
    kept = np.argsort(-first[question], kind="stable")[:3]
    order = kept[np.argsort(-wanted[kept], kind="stable")]
    assert rows[question].tolist() == order.tolist()
    np.testing.assert_allclose(found[question], wanted[order], rtol=1e-4)
