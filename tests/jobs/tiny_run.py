"""A work directory that holds the small model itself, never trained."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp

from configs import pretrain
from slan_jax.jobs import workdir
from slan_jax.jobs.experiment import Experiment, read_tokenizer
from slan_jax.jobs.typed import to_dataclass
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.state import TrainState
from tests.models.small import SMALL
from tests.slan_torch import pair

STEPS = (4, 8)
SIZES = SMALL | {
  "model.text.vocab_size": -1,
  "model.text.function_ids": (),
  "model.compute_dtype": "float32",
  "model.backbone.name": "resnet_tiny",
  "model.adaptor.levels": 2,
  "model.generator.layers": 1,
  "model.word_map.affinity_window": 3,
  "objective.lm": 1.0,
  # That of `Answers`: what one compiles serves the other.
  "evaluation.batch_size": 16,
  "evaluation.pair_batch_size": 16,
  "evaluation.galleries": (6,),
  "evaluation.top_k": 4,
}


def write_tiny_run(data: Path, directory: Path) -> Experiment:
  """Makes it, with a checkpoint of random parameters for each of `STEPS`.

  Args:
    data: a prepared directory of scenes.
    directory: home of the run.
  """
  config = pretrain.get_config("scenes").unlock()
  config.update_from_flattened_dict(SIZES | {"data.dir": str(data)})
  experiment = to_dataclass(config.to_dict(), Experiment)
  workdir.write(directory, experiment)
  model = read_tokenizer(experiment)[0].model
  checkpoints = Checkpoints(directory / workdir.CHECKPOINTS, keep=2)
  for step in STEPS:
    zero = jnp.zeros((), jnp.int32)
    params = jax.device_put(pair.params(model, seed=step))
    state = TrainState(
      step=jnp.int32(step),
      params=params,
      ema=params,
      opt_state={},
      carry={},
      key=jax.random.key(0),
      skipped_in_a_row=zero,
      skipped_total=zero,
    )
    checkpoints.save(state, {})
    checkpoints.wait()
  checkpoints.close()
  return dataclasses.replace(experiment, model=model)
