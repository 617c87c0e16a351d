"""What an evaluation was asked, kept beside its scores."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from slan_jax.evaluation import report
from slan_jax.evaluation.files import write_atomically
from slan_jax.jobs.unfinished import forget

REQUEST = "request.json"


@dataclasses.dataclass(frozen=True)
class Request:
  """What is to be scored, and how; equal requests have equal results.

  `changed` is what `choices.choose` found: key -> value in place of the run's.
  """

  task: str
  data: str
  split: str
  galleries: tuple[int, ...]
  step: int
  config_hash: str
  untrained: bool
  framework: str = "jax"
  changed: dict[str, Any] = dataclasses.field(default_factory=dict)


def reuse(output: Path, request: Request) -> dict[str, Any] | None:
  """The report of an equal request, if a whole one lies there."""
  try:
    if json.loads((output / REQUEST).read_text()) != plain(request):
      return None
    found = report.read_report(output / "metrics.json")
  except (FileNotFoundError, ValueError):
    return None
  forget(output)  # its evaluation was killed before it could
  print(f"{output} already holds these scores (--force scores again)")
  return found


def keep_request(output: Path, request: Request) -> None:
  """Writes what `reuse` compares; the last file of an evaluation."""
  text = json.dumps(plain(request), indent=2) + "\n"
  write_atomically(output / REQUEST, text.encode())


def plain(request: Request) -> dict[str, Any]:
  """A request as JSON holds it."""
  return json.loads(json.dumps(dataclasses.asdict(request)))
