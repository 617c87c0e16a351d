"""The pre-training task on a model of a few thousand parameters."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.slan import Slan
from slan_jax.objective import contrastive
from slan_jax.tasks import fused
from tests.models.small import LENGTH, small_batch, small_config, small_task


@functools.cache
def start(argument):
  """Task, parameters and carry of a preset, made once."""
  task = small_task(argument)
  return task, *jax.jit(task.init)(jax.random.key(0))


def compute(task, params, carry, batch, *, stage=None, gradient=True):
  """Loss, metrics, carry and gradient of one batch."""
  stage = len(task.stages) if stage is None else stage

  def loss(params, carry, batch):
    return task.loss(
      params, params, carry, batch, key=jax.random.key(1), step=0, stage=stage
    )

  run = jax.value_and_grad(loss, has_aux=True) if gradient else loss
  return jax.jit(run)(params, carry, batch)


@functools.cache
def program(argument):
  """(params, carry, batch) -> loss and gradient of a preset, compiled once."""
  task = start(argument)[0]
  return jax.jit(lambda *inputs: compute(task, *inputs))


@functools.cache
def computed(argument):
  """Loss, metrics and gradient of a preset's random batch."""
  task, params, carry = start(argument)
  return program(argument)(params, carry, small_batch(task))


@pytest.mark.parametrize("argument", ["scenes", "scenes,preset=paper"])
def test_every_loss_is_finite_and_reaches_every_part(argument):
  (total, (metrics, _)), gradient = computed(argument)
  assert jnp.isfinite(total)
  terms = {"itc", "itm", "mlm", "reg"}
  if argument == "scenes":
    terms |= {"phrase", "saliency", "lm"}
  assert terms <= set(metrics)
  expected = {"area", "pairwise_iou", "saliency_entropy", "shift_x", "kept"}
  if argument != "scenes":  # where sizes are learned
    expected |= {"p_w_1", "p_h_3"}
  assert expected <= set(metrics)
  for name, part in gradient["slan"].items():
    size = sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(part))
    assert np.isfinite(size), name
    # In `paper`, the text decoder waits for the downstream tasks.
    assert (size > 0) == (name != "generator" or argument == "scenes"), name


# Preset `paper`: loss -> the parts that it trains, as its equations say. No
# other may get a gradient: ITM's and MLM's negatives and regions are drawn and
# sought, not learned through the projections of ITC; L_reg's target is fixed
# (row 16 of docs/METHOD.md), so that it trains what makes G_0 and nothing else.
ENCODERS = {"backbone", "pyramid", "detector", "text"}
CONTRACT = {
  "itc": ENCODERS | {"image_projection", "text_projection", "temperature"},
  "itm": ENCODERS | {"locator", "matching"},
  "mlm": ENCODERS | {"locator", "language_head"},
  # The decoder is told nothing of the text that it is to write.
  "lm": ENCODERS - {"text"} | {"locator", "language_head", "generator"},
  "reg": {"backbone", "detector"},
}


def test_which_loss_trains_what():
  task = small_task("scenes,preset=paper", objective__lm=1.0)
  _, params, carry = start("scenes,preset=paper")
  batch = jax.tree.map(jnp.asarray, small_batch(task))

  def means(params):
    _, (metrics, _) = task.loss(
      params, params, carry, batch, key=jax.random.key(1), step=0, stage=0
    )
    return jnp.stack([jnp.divide(*metrics[name]) for name in CONTRACT])

  jacobian = jax.jit(jax.jacrev(means))(params)
  parts = jacobian["slan"] | jacobian["objective"]
  for row, (loss, trained) in enumerate(CONTRACT.items()):
    found = {
      name
      for name, tree in parts.items()
      if any(jnp.any(leaf[row] != 0) for leaf in jax.tree.leaves(tree))
    }
    assert found == trained, loss


def constant(value):
  return lambda array: np.full_like(array, value)


# What a batch or a model may degenerate to: entry -> its new value.
DEGENERATE_BATCHES = {
  "all padding": {"text_mask": constant(False)},
  "no word": {"text_mask": lambda a: a & (np.arange(LENGTH) < 2)},
  "one word": {"text_mask": lambda a: a & (np.arange(LENGTH) < 3)},
  "function words": {"text": constant(3)},
  "black": {"image": constant(0)},
  "one pair": {"image_id": constant(0), "text_id": constant(0)},
  "nothing swapped": {"negatives_mask": constant(False)},
}
DEGENERATE_MODELS = {
  "boxes without size": {"box3/bias": lambda a: a + [0, 0, -200, -200]},
  "boxes at the corner": {"box3/bias": constant(200)},
  "one region": {"saliency/kernel": lambda a: 1e4 * a},
  "no saliency": {"saliency/bias": constant(-200)},
  "zero embeddings": {
    "projection/kernel": constant(0),
    "word_map/out/kernel": constant(0),
    "compose/kernel": constant(0),
  },
  "zero features": {"backbone/": constant(0), "embeddings/": constant(0)},
}


@pytest.mark.parametrize("argument", ["scenes", "scenes,preset=paper"])
def test_nothing_degenerate_gives_nan(argument):
  task, params, carry = start(argument)
  batch = small_batch(task)
  cases = {
    name: (params, batch | {key: new(batch[key]) for key, new in case.items()})
    for name, case in DEGENERATE_BATCHES.items()
  }
  cases |= {
    name: (changed(params, case), batch)
    for name, case in DEGENERATE_MODELS.items()
  }
  for name, (weights, rows) in cases.items():
    found = program(argument)(weights, carry, rows)
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
      assert jnp.all(jnp.isfinite(leaf)), (name, jax.tree_util.keystr(path))


def changed(params, case):
  """Parameters, those whose path holds a name of the case replaced."""

  def replace(path, leaf):
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    for name, new in case.items():
      if name in where:
        return jnp.asarray(new(np.asarray(leaf)), leaf.dtype)
    return leaf

  return jax.tree_util.tree_map_with_path(replace, params)


def test_total_is_the_weighted_sum_of_means():
  """Eq. 8 and 9."""
  (total, (metrics, _)), _ = computed("scenes,preset=paper")
  means = [metrics[name][0] / metrics[name][1]
           for name in ("itc", "itm", "mlm", "reg")]  # fmt: skip
  np.testing.assert_allclose(total, sum(means), rtol=1e-5)


def test_bfloat16_activations_give_the_losses_of_float32():
  """Parameters stay float32; docs/RESULTS.md has whole curves."""
  task, params, carry = start("scenes,preset=paper")
  half = small_task("scenes,preset=paper", model__compute_dtype="bfloat16")
  (_, (expected, _)), _ = computed("scenes,preset=paper")
  _, (found, _) = compute(
    half, params, carry, small_batch(task), gradient=False
  )
  for name in ("itc", "itm", "mlm", "reg"):
    ours, theirs = (float(m[name][0] / m[name][1]) for m in (found, expected))
    assert ours == pytest.approx(theirs, rel=0.02), name
    assert ours != theirs, name  # it was another type


def test_first_stage_is_unimodal():
  task, params, carry = start("scenes")
  assert len(task.stages) == 1

  def names(stage):
    loss = functools.partial(task.loss, step=0, stage=stage)
    _, (metrics, _) = jax.eval_shape(
      loss, params, params, carry, small_batch(task), key=jax.random.key(1)
    )
    return set(metrics)

  assert {"itc", "phrase"} <= names(0)
  assert not {"itm", "mlm", "reg"} & names(0)
  assert {"itm", "mlm", "reg"} <= names(1)


@pytest.mark.parametrize("through", [True, False])
def test_saliency_learns_only_where_a_switch_lets_it(through):
  """Row 2 and the addition `saliency_gradient`: without any loss of its own
  the saliency is trained by the weighting alone."""
  cfg, _ = small_config(
    "scenes,preset=paper", model__filter__saliency_gradient=through
  )
  task, params, _ = start("scenes,preset=paper")
  image = small_batch(task)["image"]

  def embedding(kernel):
    head = params["slan"]["detector"] | {"saliency": {"kernel": kernel}}
    head["saliency"]["bias"] = jnp.zeros(1)
    variables = {"params": params["slan"] | {"detector": head}}
    state = Slan(cfg).apply(variables, image, method="encode_image")
    return jnp.sum(jnp.sin(state.embedding))

  kernel = params["slan"]["detector"]["saliency"]["kernel"]
  gradient = jax.jit(jax.grad(embedding))(kernel)
  assert (float(jnp.abs(gradient).max()) > 0) == through


def test_evidence_tells_a_found_phrase():
  cfg, _ = small_config("scenes")
  task, params, _ = start("scenes")
  batch = small_batch(task)

  @jax.jit
  def evidence(params, found):
    call = functools.partial(Slan(cfg).apply, {"params": params["slan"]})
    image = call(batch["image"], method="encode_image")
    text = call(
      jnp.asarray(batch["text"]), batch["text_mask"], method="encode_text"
    )
    # Every cell answers the first phrase, or none does.
    cells = jnp.broadcast_to(
      text.phrases["vectors"][:, 0, None, None], image.word_map.shape
    )
    image = image._replace(word_map=jnp.where(found, cells, -cells))
    one = text.phrases["mask"] & (jnp.arange(2) == 0)[None]
    text = text._replace(phrases=text.phrases | {"mask": one})
    located = call(image, text, method="locate")
    return call(image, text, located, method="_evidence")

  # Ten times the cosine: mean and least on the map, then in a region.
  np.testing.assert_allclose(evidence(params, True)[:, :2], 10.0, rtol=1e-3)
  np.testing.assert_allclose(evidence(params, False)[:, :2], -10.0, rtol=1e-3)


def region_term(boxes, mean_boxes, confirmed, kept=(True, True), **overrides):
  """`region_term` on one image with two regions."""
  _, objective = small_config("scenes", **overrides)
  regions = {"boxes": boxes, "mask": jnp.array([kept])}
  located = types.SimpleNamespace(mean_boxes=mean_boxes, confirmed=confirmed)
  return fused.region_term(objective, regions, located)[0]


BOXES = jnp.array([[[0.5, 0.5, 0.2, 0.2], [0.3, 0.3, 0.2, 0.2]]])
TARGET = BOXES + jnp.array([[[0.1, 0.0, 0.0, 0.0], [0.3, 0.0, 0.0, 0.0]]])
CONFIRMED = jnp.array([[True, False]])


def test_region_loss_trains_the_detector_and_not_the_adaptor():
  """Row 16: the target is fixed; without the stop the adaptor follows."""
  for stop in (True, False):
    detector, adaptor = jax.grad(region_term, argnums=(0, 1))(
      BOXES, TARGET, CONFIRMED, objective__reg_stop_gradient=stop
    )
    assert jnp.abs(detector).max() > 0
    assert (jnp.abs(adaptor).max() == 0) == stop


def test_region_loss_sums_kept_regions_or_all_slots():
  """Row 17: L1 and 1 - GIoU, 1 : 1, summed over the regions that count."""

  def term(kept, **overrides):
    overrides["objective__reg_confirmed"] = False
    return float(region_term(BOXES, TARGET, CONFIRMED, kept, **overrides))

  every, first = term((True, True)), term((True, False))
  # Boxes .1 and .3 apart in x: IoU 1/3 in a hull of .3; none in one of .5.
  np.testing.assert_allclose(first, 0.1 + 1 - 1 / 3, rtol=1e-5)
  np.testing.assert_allclose(every - first, 0.3 + 1 + 1 / 5, rtol=1e-5)
  slots = term((True, False), objective__reg_regions="slots")
  np.testing.assert_allclose(slots, every, rtol=1e-6)


def test_only_confirmed_regions_teach_the_detector():
  def term(confirmed=CONFIRMED, **overrides):
    overrides = {f"objective__{name}": v for name, v in overrides.items()}
    return float(region_term(BOXES, TARGET, confirmed, **overrides))

  every = term(reg_confirmed=False)
  chosen = term(reg_confirmed=True)
  assert every > chosen > 0
  both = jnp.ones((1, 2), bool)
  # The second region moved .3, further than is believed.
  np.testing.assert_allclose(
    term(both, reg_confirmed=True, reg_max_shift=0.2), chosen, rtol=1e-6
  )


def test_queue_serves_as_negatives_and_momentum_makes_its_keys():
  task = small_task("scenes", objective__queue_size=6, objective__momentum=True)
  params, _ = start("scenes")[1:]
  carry = contrastive.empty_queue(6, 8)
  batch = small_batch(task)

  @jax.jit
  def itc(ema, carry, batch):
    _, (metrics, carry) = task.loss(
      params, ema, carry, batch, key=jax.random.key(1), step=0, stage=0
    )
    return metrics["itc"][0], carry

  first, filled = itc(params, carry, batch)
  assert (filled["image_id"] >= 0).sum() == 4
  batch |= {name: batch[name] + 100 for name in ("image_id", "text_id")}
  second, _ = itc(params, filled, batch)
  assert second > first  # more negatives
  other = jax.tree.map(lambda leaf: leaf + 0.05, params)
  assert abs(itc(other, carry, batch)[0] - itc(params, carry, batch)[0]) > 1e-4


def test_a_batch_of_one_does_not_fail():
  task = small_task("scenes", size=1)
  params, carry = start("scenes")[1:]
  total, _ = compute(task, params, carry, small_batch(task), gradient=False)
  assert jnp.isfinite(total)


def test_microbatches_change_nothing():
  whole, params, carry = start("scenes")
  parts = small_task("scenes", parts=2)
  (a, _), g = computed("scenes")
  (b, _), h = compute(parts, params, carry, small_batch(whole))
  np.testing.assert_allclose(a, b, rtol=1e-5)

  def compare(x: jax.Array, y: jax.Array) -> None:
    # Rounding grows with the largest terms of a sum, not with its result.
    scale = max(1.0, float(jnp.abs(x).max()))
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5 * scale)

  jax.tree.map(compare, g, h)


def test_bad_settings_name_their_keys():
  with pytest.raises(ValueError, match=r"microbatches=3.*batch_size=4"):
    small_task("scenes", parts=3)
  with pytest.raises(ValueError, match=r"negative_pool=3.*batch_size=4"):
    small_task("scenes", objective__negative_pool=3)
  with pytest.raises(ValueError, match=r"objective\.phrase.*word_map"):
    small_task("scenes", model__word_map__enabled=False)
