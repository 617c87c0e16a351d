"""`slan-import --config FILE[:ARG] --config.init_from.PART=PATH ...`.

Tries published weights without training: reads every file as `slan-train`
would, lists what was read, and can run a sentence through the text encoder.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from slan_jax.evaluation.files import save_arrays
from slan_jax.input.text import TextEncoder
from slan_jax.jobs import common, pretrained
from slan_jax.jobs.catalog import make_task
from slan_jax.jobs.experiment import Experiment, read_tokenizer
from slan_jax.models.bert import BertEncoder

Tree = Any

_CONFIG = common.define_config()
_PROBE = flags.DEFINE_multi_string(
  "probe",
  [],
  "A text to run through the text encoder; may be repeated. --output FILE.npz "
  "keeps ids, mask and the last hidden states.",
)


def main() -> None:
  """Console script."""
  flags.mark_flags_as_required(["config"])
  common.launch(_from_flags)


def _from_flags() -> int:
  experiment = common.experiment_of(_CONFIG.value)
  experiment, encoder = read_tokenizer(experiment)
  weights = try_weights(experiment, encoder)
  if not _PROBE.value:
    return 0
  if "text" not in weights:
    raise ValueError("--probe needs init_from.text")
  found = hidden_states(experiment, encoder, weights["text"], _PROBE.value)
  for ids, mask, states in zip(*found.values()):
    for piece, number, state in zip(encoder.pieces(ids), ids, states[mask]):
      norm = np.linalg.norm(state)
      print(f"{piece:16} id {number:6}  |hidden| {norm:.4f}")
  if common.OUTPUT.value:
    save_arrays(Path(common.OUTPUT.value), found)
  return 0


def try_weights(
  experiment: Experiment, encoder: TextEncoder
) -> dict[str, Tree]:
  """Reads the files of `init_from` and lists their arrays.

  Args:
    experiment: names the files; its vocabulary is known.
    encoder: its tokenizer.

  Returns:
    Part -> parameters.

  Raises:
    LoadError: a file does not fit.
    ValueError: no file is named.
  """
  files = pretrained.sources(experiment)
  if not files:
    raise ValueError(
      "nothing to import: set init_from.text, init_from.language_head, "
      "init_from.backbone or init_from.detector to a directory or file"
    )
  task = make_task(experiment, encoder)
  like, _ = jax.eval_shape(task.init, jax.random.key(0))
  weights = pretrained.read_weights(experiment, like)
  for file in files:
    rows = pretrained.inventory(file, like["slan"][file.part])
    print(f"{file.part}: {len(rows)} arrays of {file.path}")
    for name, shape, ours in rows:
      print(f"  {name} {shape} -> {file.part}/{ours}")
  return weights


def hidden_states(
  experiment: Experiment,
  encoder: TextEncoder,
  params: Tree,
  texts: list[str],
) -> dict[str, np.ndarray]:
  """Last hidden states of texts, in float32.

  Args:
    experiment: the model.
    encoder: its tokenizer.
    params: of the text encoder.
    texts: n texts.

  Returns:
    ids [n, N] int32, mask [n, N] bool, hidden [n, N, D] float32.
  """
  model = experiment.model
  module = BertEncoder(model.text, model.width, jnp.float32, "none")
  ids, mask, _ = encoder(texts)
  hidden = jax.jit(module.apply)({"params": params}, ids, mask)
  return {"ids": ids, "mask": mask, "hidden": np.asarray(hidden)}
