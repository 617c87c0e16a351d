"""The two ways in which data can fail."""


class InputError(Exception):
  """Nothing can be read; the message names what and says what to do."""


class BadRecord(ValueError):
  """One record cannot be used, others may; the message is the reason."""
