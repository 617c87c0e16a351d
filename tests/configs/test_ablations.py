"""The rows of the ablation tables are runs that can be built."""

import functools

import jax
import pytest

from configs import ablations, pretrain
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import flatten, to_dataclass
from slan_jax.models import config
from slan_jax.tasks import pretrain as task
from slan_jax.training.optimizer import make_optimizer
from tests.models.small import FUNCTION_IDS, SMALL, build

ROWS = [f"{t}-{r}" for t, table in ablations.TABLES.items() for r in table.rows]
# Rows that take away what others build on: their losses are traced.
TAKE_AWAY = (
  "5-frozen",
  "locator-no_swapped_words",
  "locator-no_phrase_contrast",
  "locator-levels0",
)
LENGTH = 8


def row_of(name: str) -> ablations.Row:
  table, _, row = name.partition("-")
  return ablations.TABLES[table].rows[row]


def resolve(name: str, *options: str):
  if row_of(name).detector:
    options += ("detector=detr.pth",)
  return ablations.get_config(",".join((name, *options)))


def make(values) -> tuple[Experiment, task.Task]:
  """The typed experiment, and its task on few widths and layers."""
  experiment = to_dataclass(values.to_dict(), Experiment)
  kept = ("model.filter", "model.adaptor.grid", "model.detector.queries")
  small = {k: v for k, v in SMALL.items() if not k.startswith(kept)}
  values = values.unlock()
  with values.ignore_type():
    values.update_from_flattened_dict(small)
    values.model.text.function_ids = FUNCTION_IDS
  cfg = build(config.Slan, values.to_dict()["model"])
  batch = task.Batch(2, LENGTH, experiment.text.hard_negatives, 4, 1)
  return experiment, task.make_task(cfg, experiment.objective, batch, 20)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_resolves_to_what_it_says(name):
  values = resolve(name)
  experiment, _ = make(resolve(name))
  flat = flatten(values.to_dict())
  for key, value in row_of(name).values.items():
    assert flat[key] == (list(value) if isinstance(value, tuple) else value)
  assert len(experiment.model.pyramid.scales) >= experiment.model.adaptor.levels
  proposals = experiment.model.detector.queries
  assert experiment.model.filter.top <= proposals


@pytest.mark.parametrize("name", TAKE_AWAY)
def test_what_is_left_still_learns(name):
  experiment, made = make(resolve(name))
  key = jax.eval_shape(lambda: jax.random.key(0))
  params, carry = jax.eval_shape(made.init, key)
  # The frozen part is there to be frozen.
  jax.eval_shape(make_optimizer(experiment.optimizer).init, params)
  loss = functools.partial(made.loss, step=0, stage=len(made.stages))
  total, _ = jax.eval_shape(
    loss, params, params, carry, made.batch_spec, key=key
  )
  assert total.shape == ()


def test_a_detector_is_loaded_where_the_row_says():
  """Table 9, and line 1 of Table 5 with weights."""
  for row, backbone in (("detector", ""), ("detector_backbone", "detr.pth")):
    loaded = resolve(f"9-{row}").init_from
    assert (loaded.detector, loaded.backbone) == ("detr.pth", backbone)
  assert resolve("9-scratch").to_dict() == resolve("5-adaptors3").to_dict()
  frozen = resolve("9-frozen")
  assert frozen.init_from.detector == "detr.pth"
  with frozen.unlocked():
    frozen.init_from.detector = ""
  assert frozen.to_dict() == resolve("5-frozen").to_dict()


def test_a_row_differs_from_its_preset_by_its_values_only():
  for name in ("5-adaptors3", "locator-whole", "silences-paper"):
    preset = ablations.TABLES[name.partition("-")[0]].preset
    plain = pretrain.get_config(f"scenes,preset={preset}")
    assert resolve(name).to_dict() == plain.to_dict()
  changed = flatten(resolve("locator-no_affinity").to_dict())
  whole = flatten(resolve("locator-whole").to_dict())
  assert {key for key in whole if whole[key] != changed[key]} == {
    "model.word_map.affinity"
  }


def test_a_short_run_keeps_the_shares():
  plain, short = resolve("locator-whole"), resolve("locator-whole", "steps=200")
  assert short.total_steps == 200
  share = 200 / plain.total_steps
  for section, key in (
    ("optimizer", "warmup_steps"),
    ("evaluation", "every_steps"),
    ("checkpoint", "every_steps"),
    ("log", "every_steps"),
  ):
    whole = getattr(getattr(plain, section), key)
    found = getattr(getattr(short, section), key)
    assert whole > found and abs(found - share * whole) <= 1, (section, key)
  tiny = resolve("locator-whole", "steps=2")
  assert tiny.optimizer.warmup_steps < 2 and tiny.evaluation.every_steps == 1


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("5", "no such row; choose one of 5-frozen, 5-adaptors0"),
    ("5-frozn", "no such row"),
    ("5-frozen,steps=x", "steps=x is no number"),
    ("5-frozen,steps=0", "steps=0 is no number"),
    ("5-frozen,stops=3", "cannot read 'stops'"),
    ("5-frozen,detector=a.pth", "cannot read 'detector'; expected steps=N"),
    ("9-detector,steps=3", "needs ,detector=PATH"),
  ],
)
def test_bad_arguments_are_named(argument, message):
  with pytest.raises(ValueError, match=message):
    ablations.get_config(argument)
