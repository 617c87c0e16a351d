"""metrics.json: what a run scored, how, and beside what.

The keys and the metric names are a stable contract, see docs/CONTRACTS.md.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from slan_jax.evaluation.files import write_atomically

SKIPPED = "skipped_"  # what was left out, among the samples
# Key -> type, in the order they are written.
KEYS = {
  "task": str,
  "protocol": str,
  "score": str,
  "checkpoint_step": int,
  "config_hash": str,
  "samples": dict,
  "metrics": dict,
  "chance": dict,
  "untrained": dict,
}


def complete(
  outcome: dict[str, Any],
  *,
  checkpoint_step: int,
  config_hash: str,
  untrained: dict[str, float],
) -> dict[str, Any]:
  """Adds to an evaluation's outcome where the parameters came from.

  Args:
    outcome: of `evaluate_grounding`, or the report of `evaluate_retrieval`.
    checkpoint_step: optimiser steps behind these parameters.
    config_hash: of the run's resolved configuration.
    untrained: metrics of the same model before training; {} = not measured.

  Returns:
    The report in the order of `KEYS`.

  Raises:
    ValueError: a key is missing, unknown or of the wrong type, or a metric is
      not a finite number.
  """
  report = outcome | {
    "checkpoint_step": checkpoint_step,
    "config_hash": config_hash,
    "untrained": untrained,
  }
  check(report, "report")
  return {key: report[key] for key in KEYS}


def joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
  """An outcome with the protocol, samples, metrics and chance of another."""
  parts = ("samples", "metrics", "chance")
  protocol = f"{first['protocol']} {second['protocol']}"
  added = {part: first[part] | second[part] for part in parts}
  return first | added | {"protocol": protocol}


def with_skipped(
  outcome: dict[str, Any], skipped: Mapping[str, int], what: str = ""
) -> dict[str, Any]:
  """An outcome whose samples tell what was left out, too.

  Args:
    outcome: of an evaluation.
    skipped: reason -> count, of the split that was read.
    what: of what, where a split holds several things; "" = of the split.

  Returns:
    The outcome; each reason that counts has a key in `samples`.
  """
  begin = SKIPPED + (what and f"{what}_")
  counts = {
    begin + reason.replace(" ", "_"): count
    for reason, count in sorted(skipped.items())
    if count
  }
  return outcome | {"samples": outcome["samples"] | counts}


def check(report: dict[str, Any], name: str) -> None:
  """Raises ValueError unless the report has exactly the stable form."""
  if set(report) != set(KEYS):
    raise ValueError(
      f"{name}: expected the keys {', '.join(KEYS)}; missing: "
      f"{sorted(set(KEYS) - set(report))}, unknown: "
      f"{sorted(set(report) - set(KEYS))}"
    )
  for key, kind in KEYS.items():
    if not isinstance(report[key], kind):
      raise ValueError(
        f"{name}: {key} must be {kind.__name__}, got {report[key]!r}"
      )
  for part in ("samples", "metrics", "chance", "untrained"):
    for metric, value in report[part].items():
      if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(
          f"{name}: {part}.{metric} must be a finite number, got {value!r}"
        )


def write_report(path: Path, report: dict[str, Any]) -> None:
  """Writes metrics.json atomically.

  Args:
    path: the file.
    report: of `complete`.

  Raises:
    ValueError: the report has not the stable form.
  """
  check(report, str(path))
  text = json.dumps(report, indent=2, allow_nan=False)
  write_atomically(path, (text + "\n").encode())


def read_report(path: Path) -> dict[str, Any]:
  """Reads metrics.json.

  Raises:
    ValueError: not JSON or not of the stable form; the message names the file.
    FileNotFoundError: no such file.
  """
  try:
    report = json.loads(epath.Path(path).read_text())
  except json.JSONDecodeError as error:
    raise ValueError(f"{path}: not JSON ({error})") from error
  check(report, str(path))
  return report
