"""Checkpoints of a whole run: written beside training, verified when read.

One directory per step. `state` holds every array of the `TrainState` under its
own name, so that any part can be read alone and on any mesh; `record` holds
what the loop counts on the host and a checksum of every array, taken from the
devices before writing. What does not give its checksum back is not trusted.
`scores.json` beside the steps tells which one is the best.
"""

import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from slan_jax.training.errors import CorruptCheckpointError
from slan_jax.training.leaves import checksums, flat, lookup, named, plain
from slan_jax.training.scores import NewestAndBest, Scores
from slan_jax.training.state import TrainState
from slan_jax.training.storage import corrupt, probe, reading, writing

Tree = Any
LOG = logging.getLogger(__name__)


class Checkpoints:
  """The checkpoints of one run."""

  def __init__(
    self, directory: Path, *, keep: int = 1, read_only: bool = False
  ):
    """Opens a directory of checkpoints.

    Args:
      directory: made when missing, unless `read_only`; also in a bucket.
      keep: newest checkpoints kept beside the best.
      read_only: never writes, renames or removes anything.
    """
    self.directory = epath.Path(directory)
    if "://" not in str(directory):
      self.directory = self.directory.absolute()
    self._read_only = read_only
    self._scores = Scores(self.directory)
    self._last: int | None = None  # step whose writing was begun last
    self._unsure = False  # whether it is known to be whole
    self._looked_at: dict[int, dict[str, Any]] = {}  # step -> its arrays
    self._manager = ocp.CheckpointManager(
      self.directory,
      item_handlers={
        "state": ocp.PyTreeCheckpointHandler(),
        "record": ocp.JsonCheckpointHandler(),
      },
      options=ocp.CheckpointManagerOptions(
        preservation_policy=NewestAndBest(keep, self._scores),
        cleanup_tmp_directories=not read_only,
        create=not read_only,
      ),
    )

  def steps(self) -> list[int]:
    """Steps that have a checkpoint, oldest first."""
    return sorted(self._manager.all_steps())

  def best(self) -> int | None:
    """Step with the highest score (the later of equals), if any has one."""
    return self._scores.best(self.steps())

  def save(self, state: TrainState, host: Mapping[str, Any]) -> None:
    """Writes a checkpoint in the background, once its arrays are copied.

    Args:
      state: the state to keep; it may be donated as soon as this returns.
      host: JSON values that belong to it, such as the data position.

    Raises:
      SaveError: this or the one before cannot be written.
    """
    arrays = named(plain(state))
    record = {"checksums": checksums(arrays), "host": dict(host)}
    self.wait()
    self._last, self._unsure = int(state.step), True
    self._looked_at.clear()
    with writing(self.directory, self._last):
      if jax.process_index() == 0:
        probe(self.directory)
      self._manager.save(
        self._last,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(arrays), record=ocp.args.JsonSave(record)
        ),
        force=True,
      )

  def record_score(self, step: int, score: float) -> None:
    """Notes the score of a step (higher is better): it decides the best."""
    self._scores.note(step, score)

  def restore_newest(self, like: TrainState) -> tuple[TrainState, dict] | None:
    """Reads the newest checkpoint that is whole.

    A broken one is reported, renamed to `<step>.corrupt` (or `.corrupt.1`, ...
    where that is taken) and passed over.

    Args:
      like: shapes, dtypes and shardings of the state (`abstract_state`).

    Returns:
      (state, host), or None when there is no checkpoint at all.

    Raises:
      CorruptCheckpointError: there are checkpoints, but none is whole.
      ValueError: the newest whole one is of another model or optimiser.
    """
    steps = self.steps()
    for step in reversed(steps):
      try:
        return self._restore(step, like)
      except CorruptCheckpointError as error:
        LOG.warning("%s: falling back to the checkpoint before it", error)
        self._set_aside(step)
    if steps:
      raise CorruptCheckpointError(
        f"none of the checkpoints in {self.directory} (steps {steps}) can be "
        "read; remove the directory to start again, or bring back a copy"
      )
    return None

  def shapes(self, step: int, part: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Names, shapes and types of the arrays of a field, as a step holds them.

    Args:
      step: which checkpoint.
      part: name of a field of `TrainState`.

    Raises:
      CorruptCheckpointError: what it holds cannot be read.
    """
    saved, start = self._saved(step), f"{part}/"
    return {
      name.removeprefix(start): jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
      for name, leaf in saved.items()
      if name.startswith(start)
    }

  def go_back(
    self, step: int, like: TrainState
  ) -> tuple[TrainState, dict] | None:
    """Reads the newest whole checkpoint up to a step; removes all after it.

    Args:
      step: the last good one.
      like: shapes, dtypes and shardings of the state.

    Returns:
      (state, host), or None, with nothing removed, when there is none.

    Raises:
      CorruptCheckpointError: there are some, but none is whole.
    """
    self.wait()
    steps = self.steps()
    if not steps or steps[0] > step:
      return None
    later = [each for each in steps if each > step]
    for each in later:
      self._manager.delete(each)
    self._scores.drop(later)
    return self.restore_newest(like)

  def restore_part(self, step: int, part: str, like: Tree) -> Tree:
    """Reads one field of the state alone, for example `params` or `ema`.

    Args:
      step: which checkpoint.
      part: name of a field of `TrainState`.
      like: its shapes, dtypes and shardings; the mesh may differ from the one
        that wrote it.

    Raises:
      CorruptCheckpointError: it does not read back whole.
      ValueError: there is no such step, or it is of another model.
    """
    if step not in self.steps():
      raise ValueError(
        f"{self.directory} has no checkpoint of step {step}; it has "
        f"{self.steps() or 'none at all'}"
      )
    return self._restore(step, {part: like})[0][part]

  def check(self) -> None:
    """Raises SaveError as soon as background writing went wrong; no wait."""
    if self._unsure and not self._manager.is_saving_in_progress():
      self.wait()

  def wait(self) -> None:
    """Waits for background writing; raises SaveError if that went wrong."""
    with writing(self.directory, self._last):
      self._manager.wait_until_finished()
    self._unsure = False

  def close(self) -> None:
    """Finishes writing and releases the directory; raises SaveError."""
    with writing(self.directory, self._last):
      self._manager.close()

  def _restore(self, step: int, like: Tree) -> tuple[Tree, dict]:
    wanted, saved = named(plain(like)), self._saved(step)
    for name, leaf in flat(wanted).items():
      there = tuple(saved[name].shape) if name in saved else "missing"
      if there != tuple(leaf.shape):
        raise ValueError(
          f"checkpoint {step} in {self.directory} is of another model: "
          f"{name} is {there} there and {tuple(leaf.shape)} here"
        )
    arguments = ocp.args.Composite(
      state=ocp.args.PyTreeRestore(
        wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
      ),
      record=ocp.args.JsonRestore(),
    )
    with reading(self.directory, step):
      restored = self._manager.restore(step, args=arguments)
      arrays, record = restored["state"], restored["record"]
      stored, host = record["checksums"], record["host"]
    for name, value in checksums(arrays).items():
      if stored.get(name) != value:
        raise corrupt(
          self.directory, step, f"the checksum of {name} does not match"
        )
    return lookup(arrays, like), host

  def _saved(self, step: int) -> dict[str, Any]:
    """Name -> what Orbax knows of each array of a step.

    It asks every array of the state, so that is done once for all parts.
    """
    if step not in self._looked_at:
      with reading(self.directory, step):
        found = flat(self._manager.item_metadata(step)["state"].tree)
      self._looked_at[step] = found
    return self._looked_at[step]

  def _set_aside(self, step: int) -> None:
    if self._read_only:
      return
    self._scores.drop([step])
    if jax.process_index() == 0:
      source = self.directory / str(step)
      source.rename(self._free_name(f"{step}.corrupt"))
    multihost_utils.sync_global_devices("set aside a broken checkpoint")
    self._manager.reload()

  def _free_name(self, name: str) -> epath.Path:
    """A path that is not there: the same step may break again."""
    names = (f"{name}.{number}" for number in itertools.count(1))
    paths = (self.directory / each for each in itertools.chain([name], names))
    return next(path for path in paths if not path.exists())
