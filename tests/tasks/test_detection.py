"""Detection by prompt: losses, scores and chunks of the class list."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.slan import Slan
from slan_jax.tasks import detection, localisation
from slan_jax.tasks.config import Localisation
from tests.models.small import (
  LENGTH,
  random_params,
  small_batch,
  small_config,
)

OPTIONS = Localisation(
  top=0, threshold=0.0, temperature=0.1, nothing=0.3, fit=False,
  cost_tokens=1.0, cost_l1=5.0, cost_giou=2.0,
  tokens=1.0, l1=5.0, giou=2.0, nothing_weight=0.1, auxiliary=1.0,
)  # fmt: skip
QUERIES, BOXES = 4, 6


def make_prompts():
  """Classes 0 and 1 in the first prompt, 2 in the second: "of 7 8 , 9"."""
  ids = np.full((2, LENGTH), 0, np.int32)
  ids[:, :6] = [[2, 7, 8, 5, 9, 3], [2, 10, 3, 0, 0, 0]]
  class_tokens = np.zeros((2, 2, LENGTH), bool)
  class_tokens[0, 0, 1:3] = class_tokens[0, 1, 4] = True
  class_tokens[1, 0, 1] = True
  return detection.Prompts(
    ids, ids != 0, class_tokens, np.array([[0, 1], [2, -1]], np.int32)
  )


def build(argument):
  """The task of a small model of one level, and its parameters."""
  cfg = small_config(argument, model__adaptor__levels=1)[0]
  prompts = make_prompts()
  task = detection.make_task(
    cfg, OPTIONS, prompts, batch_size=4, microbatches=1, boxes=BOXES, nms=0.0
  )
  params = random_params(task)
  head = localisation.new_head(OPTIONS)
  return task, params | {localisation.HEAD: head}, cfg


@pytest.fixture(scope="module")
def grounded():
  return build("scenes")


class Step:
  """Loss, metrics and gradient of a step that asks one prompt or the other."""

  def __init__(self, task, params):
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 0.5, (4, BOXES, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, low.shape)], -1)
    labels = np.array([[0, 1, 2, -1, -1, -1], [-1] * 6, [1] * 6, [2] * 6])
    self.params = params
    self.batch = small_batch(task) | {
      "boxes": boxes.astype(np.float32),
      "labels": labels.astype(np.int32),
    }

    def loss(params, batch, key):
      return task.loss(params, {}, {}, batch, key=key, step=0, stage=0)

    self._run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    self._keys = {}
    for seed in range(20):
      key = jax.random.key(seed)
      self._keys.setdefault(int(jax.random.randint(key, (), 0, 2)), key)

  def __call__(self, prompt, **changed):
    (value, (metrics, _)), gradient = self._run(
      self.params, self.batch | changed, self._keys[prompt]
    )
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradient))
    return float(value), jax.tree.map(float, metrics), gradient


@pytest.fixture(scope="module")
def step(grounded):
  return Step(*grounded[:2])


def test_gradient_reaches_what_finds_and_what_names(step):
  _, metrics, gradient = step(0)
  for part in ("detector", "word_map", "phrases", "backbone"):
    leaves = jax.tree.leaves(gradient["slan"][part])
    assert any(bool((x != 0).any()) for x in leaves), part
  assert all(bool(x != 0) for x in gradient[localisation.HEAD].values())
  # Image 2 has six boxes of class 1, and the model four regions.
  assert metrics["boxes_lost"] == (2.0, 4.0)
  assert metrics["l1"][1] == 2 + 4


def test_a_step_knows_the_boxes_of_its_prompt_only(step):
  value, labels = step(0)[0], step.batch["labels"]
  boxes = step.batch["boxes"].copy()
  boxes[labels == 2] = [0.6, 0.6, 0.9, 0.9]
  boxes[labels == -1] = np.nan
  assert step(0, boxes=boxes)[0] == pytest.approx(value, rel=1e-5)
  other, found, _ = step(1)
  assert found["l1"][1] == 1 + 4
  assert step(1, boxes=boxes)[0] != pytest.approx(other, rel=1e-3)
  empty, found, _ = step(0, labels=np.full_like(labels, -1))
  assert found["l1"] == (0.0, 0.0) and np.isfinite(empty)


def detect(built, params, *, nms):
  """Answers to the first prompt, plain and suppressed; log probabilities."""
  task, _, cfg = built
  model = Slan(detection._with_phrases(cfg, make_prompts()))
  model = Slan(localisation.with_regions(model.cfg, OPTIONS))
  ids, mask, class_tokens, _ = (x[:1] for x in make_prompts())
  predict = detection.predictions(model, OPTIONS, nms)
  image = small_batch(task)["image"]

  @jax.jit
  def run(params):
    images = predict["encode_image"](params, image)
    text = predict["encode_text"](params, ids, mask)
    tokens = jnp.asarray(class_tokens[0])
    answers = [
      made["detect"](params, images, text, tokens)
      for made in (task.predict, predict)
    ]
    texts = detection._asked(model, text, tokens, len(image))
    _, log_p, counts = localisation.token_scores(
      model, OPTIONS, params, images, texts
    )
    return *answers, log_p, counts

  return jax.tree.map(np.asarray, run(params))


def test_scores_are_saliency_times_the_mean_over_tokens():
  built = build("scenes,preset=paper")
  found, _, log_p, counts = detect(built, built[1], nms=0.0)
  assert found["boxes"].shape == (4, QUERIES, 4)  # every query, T lifted
  assert (found["boxes"] >= 0).all() and (found["boxes"] <= 1).all()
  assert counts[0].tolist() == [False] + [True] * 4 + [False] * 3
  probability = np.exp(log_p[:, -1])
  expected = np.stack(
    [probability[..., 1:3].mean(-1), probability[..., 4]], axis=-1
  )
  np.testing.assert_allclose(found["scores"], expected, rtol=1e-4)
  # Tokens and "nothing" make a distribution.
  np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-4)


def test_a_pretrained_model_detects_and_coinciding_regions_are_suppressed(
  grounded,
):
  """Zero-shot: no head is learned yet; a class speaks by its last word."""
  params = {"slan": grounded[1]["slan"]}
  plain, kept, log_p, counts = detect(grounded, params, nms=-1.0)
  assert counts[0].tolist() == [False, False, True, False, True] + [False] * 3
  probability = np.exp(log_p[:, -1])
  np.testing.assert_allclose(
    plain["scores"], probability[..., [2, 4]], rtol=1e-4
  )
  np.testing.assert_array_equal(plain["boxes"], kept["boxes"])
  # Even boxes that are apart are too near: the best one of a class is left.
  best = np.argmax(plain["scores"], axis=1)
  left = np.where(kept["scores"] >= 0, kept["scores"], 0)
  np.testing.assert_array_equal(np.argmax(left, axis=1), best)
  assert ((kept["scores"] >= 0).sum(1) == 1).all()
  np.testing.assert_array_equal(left.max(1), plain["scores"].max(1))
