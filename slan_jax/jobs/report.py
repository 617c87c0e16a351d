"""`slan-report --workdir DIR`: pictures and the closing table of a run."""

from pathlib import Path

from absl import flags
from rich.console import Console

from slan_jax.evaluation.pictures import draw_report
from slan_jax.evaluation.report import read_report
from slan_jax.evaluation.table import Scored, closing_table
from slan_jax.jobs import common, workdir


def main() -> None:
  """Console script."""
  flags.mark_flags_as_required(["workdir"])
  common.launch(lambda: report(Path(common.WORKDIR.value)))


def report(directory: Path) -> int:
  """Draws what the work directory holds and prints its scores.

  Args:
    directory: home of a run.

  Returns:
    Exit code 0.

  Raises:
    WorkdirError: not a work directory.
    ValueError: a damaged file, or nothing to draw.
  """
  workdir.read(directory)
  drawn = draw_report(directory)
  # Retrieval before grounding.
  paths = sorted(directory.glob("eval/*/metrics.json"), reverse=True)
  if paths:
    scored = [Scored([read_report(path)]) for path in paths]
    Console().print(closing_table(scored))
  print(f"pictures: {', '.join(str(path) for path in drawn.values())}")
  return 0


if __name__ == "__main__":
  main()
