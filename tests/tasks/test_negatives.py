"""Which pairs ITM is told apart by, and what of them moves."""

import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.tasks import negatives
from tests.models.small import small_config

ROWS = 6


class State(NamedTuple):
  """What drawing needs of images or texts: which row, and its embedding."""

  row: jax.Array
  embedding: jax.Array


def drawn(seed: int = 0, swapped: bool = False, similarity=None, **overrides):
  """Pairs as (image rows, text rows, validity); swapped texts count from 6."""
  overrides = {f"objective__{name}": v for name, v in overrides.items()}
  _, objective = small_config("scenes", **overrides)
  similarity = jnp.zeros((ROWS, ROWS)) if similarity is None else similarity
  rows = jnp.arange(ROWS)
  online = types.SimpleNamespace(
    image=State(rows, similarity),
    text=State(rows, jnp.eye(ROWS)),
  )
  other = State(rows + ROWS, jnp.eye(ROWS))
  batch = {
    "image_id": rows,
    "text_id": rows,
    "negatives_mask": jnp.ones((ROWS, 1, 4), bool),
  }
  pairs = negatives.negative_pairs(
    objective,
    online,
    other if swapped else None,
    batch,
    jnp.float32(1.0),
    key=jax.random.key(seed),
  )
  return [
    (np.asarray(i.row), np.asarray(t.row), np.asarray(v)) for i, t, v in pairs
  ]


def test_albef_pairs():
  (images, texts, valid), (others, own, _) = drawn()
  np.testing.assert_array_equal(images, range(ROWS))
  np.testing.assert_array_equal(own, range(ROWS))
  assert valid.all()
  assert (texts != images).all()
  assert (others != own).all()


def test_images_stay_where_they_are():
  first, second = drawn(hard_images=False)
  for images, texts, valid in (first, second):
    np.testing.assert_array_equal(images, range(ROWS))
    assert (texts != images).all()
    assert valid.all()
  assert (first[1] != second[1]).any()


def test_the_second_text_is_one_that_would_choose_the_image():
  """Text 1 is like every image, text 2 like image 0 alone."""
  similarity = jnp.zeros((ROWS, ROWS)).at[:, 1].set(8.0).at[0, 2].set(6.0)
  first, second = zip(
    *(
      [
        pair[1][0]
        for pair in drawn(seed, similarity=similarity, hard_images=False)
      ]
      for seed in range(40)
    )
  )
  # By the image's own softmax text 1 wins, by those of the texts text 2.
  assert np.mean(np.array(first) == 1) > 0.7
  assert np.mean(np.array(second) == 2) > 0.4


def test_pools_keep_to_themselves():
  for hard_images in (True, False):
    for swapped in (True, False):
      pairs = drawn(swapped=swapped, negative_pool=2, hard_images=hard_images)
      for images, texts, _ in pairs:
        np.testing.assert_array_equal(images // 2, texts % ROWS // 2)


def test_turns():
  """A hard text, a hard image or a text for it, the own caption changed."""
  for hard_images in (True, False):
    ((images, texts, valid),) = drawn(swapped=True, hard_images=hard_images)
    rows = np.arange(ROWS)
    assert valid.all()
    np.testing.assert_array_equal(texts[rows % 3 == 2], ROWS + rows[2::3])
    np.testing.assert_array_equal(images[rows % 3 != 1], rows[rows % 3 != 1])
    assert (images[1::3] != rows[1::3]).all() == hard_images
    assert (texts[1::3] == rows[1::3]).all() == hard_images
    assert (images[:2] != texts[:2]).all()
