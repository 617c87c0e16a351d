"""The way in which a preparation can fail."""


class PreparationError(Exception):
  """The request cannot be met; the message says what to do."""
