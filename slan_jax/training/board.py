"""Scalars for TensorBoard, written at once: what fails, fails here.

tensorboardX's own SummaryWriter has a thread write. When that meets a full
disk it ends, and training would wait for it for ever.
"""

import time
from collections.abc import Mapping
from pathlib import Path


class Board:
  """A file of events."""

  def __init__(self, directory: Path, step: int):
    """Begins a file that overrules earlier ones after `step`."""
    # Imported here: it imports torch, where there is one, for seconds.
    from tensorboardX import event_file_writer
    from tensorboardX.proto import event_pb2, summary_pb2

    self._event, self._summary = event_pb2.Event, summary_pb2.Summary
    directory.mkdir(parents=True, exist_ok=True)
    self._file = event_file_writer.EventsWriter(str(directory / "events"))
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(step=step + 1, session_log=start)

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Notes values of a step by their tags."""
    scalars = [
      self._summary.Value(tag=tag, simple_value=value)
      for tag, value in values.items()
    ]
    self._write(step=step, summary=self._summary(value=scalars))

  def _write(self, **content) -> None:
    event = self._event(wall_time=time.time(), **content)
    self._file.write_event(event)
    self._file.flush()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()
