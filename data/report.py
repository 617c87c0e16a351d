"""What a preparation read, wrote and left out, and what it was asked for."""

import dataclasses
import json
import os
from typing import Any, Self

from etils import epath

FILE = "report.json"
NOTES = ".notes"  # folder of the shards' notes, gone when all is done
_NAMES_KEPT = 5  # first names listed per reason
Tally = dict[str, dict[str, Any]]


@dataclasses.dataclass
class Report:
  """Counts of one preparation, or of one of its shards.

  Attributes:
    read: Records seen in the source: those written and those skipped.
    written: Records stored, per split.
    skipped: Records left out, per reason, with the first names.
    repaired: Repairs of pictures, captions and boxes in what was written.
  """

  read: int = 0
  written: dict[str, int] = dataclasses.field(default_factory=dict)
  skipped: Tally = dataclasses.field(default_factory=dict)
  repaired: Tally = dataclasses.field(default_factory=dict)

  def write(self, split: str) -> None:
    """Counts a record that was stored."""
    self.read += 1
    self.written[split] = self.written.get(split, 0) + 1

  def skip(self, reason: str, name: str) -> None:
    """Counts a record that was left out and keeps the first few names."""
    self.read += 1
    _count(self.skipped, reason, name)

  def repair(self, note: str, name: str) -> None:
    """Counts a repair of a record."""
    _count(self.repaired, note, name)

  def withdraw(self, split: str, reason: str, name: str) -> None:
    """Counts a record as left out that had been counted as stored."""
    self.written[split] -= 1
    _count(self.skipped, reason, name)

  def add(self, other: Self) -> None:
    """Adds the counts of what came after."""
    self.read += other.read
    for split, count in other.written.items():
      self.written[split] = self.written.get(split, 0) + count
    for mine, theirs in (
      (self.skipped, other.skipped),
      (self.repaired, other.repaired),
    ):
      for reason, entry in theirs.items():
        own = mine.setdefault(reason, {"count": 0, "first": []})
        own["count"] += entry["count"]
        own["first"] = (own["first"] + entry["first"])[:_NAMES_KEPT]

  def balances(self) -> bool:
    """Whether every record that was read was written or skipped."""
    skipped = sum(entry["count"] for entry in self.skipped.values())
    return self.read == sum(self.written.values()) + skipped

  def lines(self) -> list[str]:
    """A summary for people."""
    written = ", ".join(f"{n:,} {split}" for split, n in self.written.items())
    lines = [f"read {self.read:,}, wrote {written or 'nothing'}"]
    for verb, tally in (("skipped", self.skipped), ("repaired", self.repaired)):
      for reason, entry in sorted(tally.items()):
        first = ", ".join(entry["first"])
        lines.append(f"{verb} {entry['count']:,} ({reason}): {first}")
    return lines


def _count(tally: Tally, reason: str, name: str) -> None:
  entry = tally.setdefault(reason, {"count": 0, "first": []})
  entry["count"] += 1
  if len(entry["first"]) < _NAMES_KEPT:
    # A name may be anything, and is shown on terminals.
    shown = (c if c.isprintable() else "\ufffd" for c in name[:200])
    entry["first"].append("".join(shown))


def write_report(
  directory: epath.Path, report: Report, settings: dict[str, Any]
) -> None:
  """Writes report.json, which also lists every file with its size.

  It is written last: a directory that has one was prepared to its end.
  """
  content = {
    "settings": settings,
    **dataclasses.asdict(report),
    "files": dict(sorted(_sizes(directory, ""))),
  }
  text = json.dumps(content, indent=2) + "\n"
  (directory / FILE).write_text(text)


def _sizes(directory: epath.Path, prefix: str) -> list[tuple[str, int]]:
  rows = []
  for path in directory.iterdir():
    if path.is_dir():
      rows += _sizes(path, f"{prefix}{path.name}/")
    elif path.name != FILE:
      rows.append((prefix + path.name, path.stat().length))
  return rows


def read_report(directory: epath.Path) -> dict[str, Any] | None:
  """The report of a prepared directory, or None when there is none."""
  try:
    return json.loads((directory / FILE).read_text())
  except (OSError, ValueError):
    return None


def is_complete(directory: epath.Path, report: dict[str, Any]) -> bool:
  """Whether every file of a report is still there at its full size."""
  for name, size in report.get("files", {}).items():
    path = directory / name
    if not path.is_file() or path.stat().length != size:
      return False
  return True


def is_local(path: epath.Path) -> bool:
  """Whether a path is a file of this machine, not an object in a bucket."""
  return "://" not in os.fspath(path)
