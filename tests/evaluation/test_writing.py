"""Driving what writes: every text belongs to its picture or question."""

import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation.evaluator import Batching
from slan_jax.evaluation.writing import (
  Questions,
  answer_questions,
  write_captions,
)
from slan_jax.tasks.decoding import Text

IMAGES = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones(
  (1, 2, 2, 3), np.uint8
)
# Not in the order of their pictures; the third picture has none.
ASKED = Questions(
  tokens=np.array([[7], [8], [9], [3], [4], [5], [6]], np.int32),
  mask=np.ones((7, 1), bool),
  image=np.array([4, 0, 0, 1, 3, 3, 3]),
)


def look(params, image):
  return image[:, 0, 0, 0].astype(jnp.int32)


def caption(params, image, rows):
  number = look(params, image)
  return Text(number[:, None] + jnp.arange(2)[None], number * params)


def answer(params, image, text, mask, rows):
  return Text(image[:, None] * 10 + text, image * params)


def rank(params, image, text, mask, answers, answers_mask):
  row = (image + text[:, 0]) % answers.shape[0]
  rows = jnp.stack([row, (row + 1) % answers.shape[0]], axis=1)
  return rows, jnp.broadcast_to(params, rows.shape)


PREDICT = {
  "encode_image": look, "caption": caption, "answer": answer, "rank": rank
}  # fmt: skip


def asked(size, params=1.0, answers=None, questions=ASKED, put=None):
  return answer_questions(
    PREDICT, jnp.float32(params), IMAGES, questions, answers,
    Batching(size, 2, put=put, progress=False),
  )  # fmt: skip


@pytest.mark.parametrize("size", [2, 5])
def test_captions_of_partial_batches_are_exact(size):
  tokens, scores = write_captions(
    PREDICT, jnp.float32(0.5), IMAGES, 5, Batching(size, 1, progress=False)
  )
  assert tokens.tolist() == [[n, n + 1] for n in range(5)]
  assert scores.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("size", [2, 5])
def test_answers_stand_in_the_order_of_their_questions(size):
  words = asked(size)
  assert words[:, 0].tolist() == [47, 8, 9, 13, 34, 35, 36]
  listed = np.zeros((4, 3), np.int32), np.ones((4, 3), bool)
  assert asked(size, answers=listed).tolist() == [3, 0, 1, 0, 3, 0, 1]


@pytest.mark.parametrize("size", [3, 4])  # whole on each device, and split
def test_any_mesh_writes_the_same(size, put):
  spread = Batching(size, size, put=put, progress=False)
  found = write_captions(PREDICT, jnp.float32(0.5), IMAGES, 5, spread)
  plain = write_captions(
    PREDICT, jnp.float32(0.5), IMAGES, 5, Batching(5, 1, progress=False)
  )
  for one, other in zip(found, plain):
    np.testing.assert_array_equal(one, other)
  listed = np.zeros((4, 3), np.int32), np.ones((4, 3), bool)
  for answers in (None, listed):
    np.testing.assert_array_equal(
      asked(size, answers=answers, put=put), asked(2, answers=answers)
    )


def test_a_model_that_diverged_is_refused():
  told = "probabilities are not finite; the model has diverged"
  with pytest.raises(ValueError, match=f"captioning: .*{told}"):
    write_captions(
      PREDICT, jnp.float32(np.nan), IMAGES, 5, Batching(2, 1, progress=False)
    )
  listed = np.zeros((4, 3), np.int32), np.ones((4, 3), bool)
  for answers in (None, listed):
    with pytest.raises(ValueError, match=f"vqa: .*{told}"):
      asked(2, params=np.nan, answers=answers)


def test_nothing_to_write_about_is_an_error():
  with pytest.raises(ValueError, match="captioning: the split has no image"):
    write_captions(PREDICT, 1.0, IMAGES, 0, Batching(2, 1, progress=False))
  none = Questions(*(part[:0] for part in ASKED))
  with pytest.raises(ValueError, match="vqa: the split has no question"):
    asked(2, questions=none)
