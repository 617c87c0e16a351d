"""Damage of every kind, drawn from a seed: to bytes, and to values of JSON."""

import json
import random
from typing import Any

JUNK = [
  *(None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x"),
  *("../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "\x1b[31m"),
  *("é" * 3000, ".jpg", "[" * 9),
  *([], [1], [None] * 5, {}, {"a": []}, [1e308] * 4, [5, 5, -3, -4]),
]


def damaged(rng: random.Random, data: bytes) -> bytes:
  """A few bytes changed, cut off, put in, repeated or blanked."""
  made = bytearray(data)
  for _ in range(rng.randint(1, 4)):
    start = rng.randrange(len(made) + 1)
    stop = min(len(made), start + rng.choice((1, 2, 8, 64, 600)))
    match rng.randrange(6):
      case 0:
        made[start:stop] = rng.randbytes(stop - start)
      case 1:
        del made[start:stop]
      case 2:
        made[start:start] = rng.randbytes(rng.choice((1, 7, 512)))
      case 3:
        made[start:start] = made[start:stop]
      case 4:
        made[start:stop] = bytes(stop - start)
      case 5 if rng.random() < 0.2:
        del made[start:]
  return bytes(made)


def with_junk(rng: random.Random, value: Any) -> Any:
  """A copy in which some values are replaced by junk, and some are gone."""
  if rng.random() < 0.03:
    return rng.choice(JUNK)
  if isinstance(value, dict):
    return {
      key: with_junk(rng, row)
      for key, row in value.items()
      if rng.random() > 0.01
    }
  if isinstance(value, list):
    return [with_junk(rng, row) for row in value]
  return value


def junk_table(rng: random.Random, table: dict[str, list]) -> str:
  """JSON of lists of entries, of which some are damaged; none is gone."""
  made = {
    name: [with_junk(rng, row) for row in rows] for name, rows in table.items()
  }
  return json.dumps(made)


def junk_lines(rng: random.Random, rows: list[dict]) -> bytes:
  """An entry a line: with junk in it, or with bytes that are damaged."""
  lines = []
  for row in rows:
    line = json.dumps(with_junk(rng, row)).encode()
    # A line stays a line.
    damage = damaged(rng, line).replace(b"\n", b" ").replace(b"\r", b" ")
    lines.append(damage if rng.random() < 0.2 and damage.strip() else line)
  return b"\n".join(lines) + b"\n"
