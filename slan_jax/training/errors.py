"""What can go wrong with a run; kept apart, so that naming it costs nothing."""


class NonFiniteError(RuntimeError):
  """Too many steps in a row had a loss or gradient that is not finite."""


class CorruptCheckpointError(RuntimeError):
  """A checkpoint, or every one of a directory, cannot be read back whole."""


class SaveError(OSError):
  """A checkpoint cannot be written; those before it are kept."""
