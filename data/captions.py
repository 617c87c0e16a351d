"""Cleans captions: encoding, control characters, white space, length."""

import re
from typing import Any

LONGEST = 1_000  # characters; training reads some thirty words
# C0 and C1 controls, lone surrogates, and the mark of a failed decoding.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


def clean_caption(text: Any) -> tuple[str, list[str]]:
  """A caption that can be stored and read, and what was done to it.

  Cleaning what is clean changes nothing.

  Args:
    text: A string, or bytes taken as UTF-8; anything else is no caption.

  Returns:
    One line, at most LONGEST characters, perhaps empty; and the repairs.
  """
  notes = []
  if isinstance(text, bytes):
    decoded = text.decode("utf-8", "replace")
    if "\ufffd" in decoded:
      notes.append("caption: broken UTF-8 dropped")
    text = decoded
  if not isinstance(text, str):
    return "", []
  if len(text) > 20 * LONGEST:  # never search a megabyte
    text = text[: 20 * LONGEST]
  plain = _CONTROLS.sub(" ", text)
  if plain != text and not notes:
    notes.append("caption: control characters dropped")
  plain = " ".join(plain.split())
  if len(plain) > LONGEST:
    notes.append(f"caption: cut at {LONGEST:,} characters")
    start = plain[: LONGEST + 1]
    plain = (start.rpartition(" ")[0] or start[:LONGEST]).rstrip()
  return plain, notes
