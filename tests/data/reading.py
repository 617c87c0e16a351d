"""Runs a source as a shard would, without files."""

import json

from data.report import Report
from data.shard import Job, read_records
from data.source import Source


def read_source(source: Source) -> tuple[dict[str, list[dict]], Report]:
  """Records by split, and the counts, of all items of a source."""
  records: dict[str, list[dict]] = {}
  report = Report()
  for split, item in source.items():
    item = json.loads(json.dumps(item))
    job = Job(source, split, [], None, None, False, "")
    for record in read_records(job, item, report):
      records.setdefault(split, []).append(record)
      report.write(split)
  assert report.balances()
  return records, report


def counts(report: Report) -> dict[str, int]:
  return {reason: entry["count"] for reason, entry in report.skipped.items()}
