"""A run's records over its steps: one JSON object with a "step" per line."""

import json
from pathlib import Path
from typing import Any

TRAINING = "metrics.jsonl"  # written by the training log
EVALUATIONS = "evaluations.jsonl"  # scores of the evaluations meanwhile


def load_history(path: Path) -> list[dict[str, Any]]:
  """Reads records in the order of their steps.

  A step that was run again after a restart counts as the last time it was
  written; a line torn by a kill is left out.

  Args:
    path: of the file; none is as good as an empty one.

  Returns:
    Records with a "step".
  """
  path, records = Path(path), {}
  if not path.exists():
    return []
  for line in path.read_text().splitlines():
    try:
      record = json.loads(line)
    except json.JSONDecodeError:
      continue
    if isinstance(record, dict) and "step" in record:
      # Merged: training may write several lines about one step.
      records[record["step"]] = records.get(record["step"], {}) | record
  return [records[step] for step in sorted(records)]
