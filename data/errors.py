"""The ways in which a preparation, or one record of it, can fail."""


class PreparationError(Exception):
  """The request cannot be met; the message says what to do."""


class Unusable(Exception):
  """One record has to be left out; the message is the reason that is counted.

  Reasons are short and few, for the report has a line for each.
  """
