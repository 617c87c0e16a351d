"""What a preparation read, wrote and left out, and what it was asked for."""

import dataclasses
import json
from pathlib import Path
from typing import Any

FILE = "report.json"
_NAMES_KEPT = 5  # first names listed per reason


@dataclasses.dataclass
class Report:
  """Counts of one preparation.

  Attributes:
    read: Records seen in the source.
    written: Records stored, per split.
    skipped: Records and parts left out, per reason, with the first names.
  """

  read: int = 0
  written: dict[str, int] = dataclasses.field(default_factory=dict)
  skipped: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

  def count_read(self, number: int = 1) -> None:
    self.read += number

  def count_written(self, split: str) -> None:
    self.written[split] = self.written.get(split, 0) + 1

  def skip(self, reason: str, name: str) -> None:
    """Counts something left out and keeps the first few names."""
    entry = self.skipped.setdefault(reason, {"count": 0, "first": []})
    entry["count"] += 1
    if len(entry["first"]) < _NAMES_KEPT:
      entry["first"].append(name)

  def lines(self) -> list[str]:
    """A summary for people."""
    written = ", ".join(f"{n:,} {split}" for split, n in self.written.items())
    lines = [f"read {self.read:,}, wrote {written or 'nothing'}"]
    for reason, entry in self.skipped.items():
      first = ", ".join(entry["first"])
      lines.append(f"skipped {entry['count']:,} ({reason}): {first}")
    return lines


def write_report(
  directory: Path, report: Report, settings: dict[str, Any]
) -> None:
  """Writes report.json, which also lists every file with its size.

  It is written last: a directory that has one was prepared to its end.
  """
  files = {
    path.relative_to(directory).as_posix(): path.stat().st_size
    for path in sorted(directory.rglob("*"))
    if path.is_file() and path.name != FILE
  }
  content = {
    "settings": settings,
    **dataclasses.asdict(report),
    "files": files,
  }
  text = json.dumps(content, indent=2) + "\n"
  (directory / FILE).write_text(text, "utf-8")


def read_report(directory: Path) -> dict[str, Any] | None:
  """The report of a prepared directory, or None when there is none."""
  try:
    return json.loads((directory / FILE).read_text("utf-8"))
  except (OSError, ValueError):
    return None


def is_complete(directory: Path, report: dict[str, Any]) -> bool:
  """Whether every file of a report is still there at its full size."""
  for name, size in report.get("files", {}).items():
    path = directory / name
    if not path.is_file() or path.stat().st_size != size:
      return False
  return True
