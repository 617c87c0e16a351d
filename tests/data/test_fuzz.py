"""Damaged records of every reader: no crash, no reader that fails, no loss.

Damage is drawn from a fixed seed. SLAN_FUZZ_RECORDS is the number of records
for each reader; without it a few hundred keep the whole under a minute.
"""

import os
import random

import pytest

from data.catalog import CATALOG
from data.errors import PreparationError
from data.report import Report
from data.schema import Serialiser, features
from data.shard import Job, read_records
from data.source import Example, Source
from tests.data.fuzzed import PICTURE, STREAMS, Given
from tests.data.reading import counts, read_source

RECORDS = int(os.environ.get("SLAN_FUZZ_RECORDS", "900"))
SEED = int(os.environ.get("SLAN_FUZZ_SEED", "0"))
# A file that is not what it should be is refused as a whole, which is neither
# a crash nor a loss; but a reader that refuses everything would prove nothing.
MOST_REFUSED = 0.2


def run(source: Source) -> Report:
  """Reads and stores everything; a failed reader fails the test."""
  records, report = read_source(source)
  serialise = Serialiser(features(**source.fields()))
  for record in (record for rows in records.values() for record in rows):
    serialise(record)
  for text in source.texts().values():
    text.encode()
  return checked(report)


def checked(report: Report) -> Report:
  failed = [reason for reason in report.skipped if "failed" in reason]
  assert failed == [], report.skipped
  assert report.balances()
  "\n".join(report.lines()).encode()  # it is printed
  return report


@pytest.mark.parametrize("name", STREAMS)
def test_damaged_records_are_written_or_counted(name, tmp_path):
  rng = random.Random(SEED)
  total, refused, sources = Report(), 0, 0
  for source, least in STREAMS[name](rng, tmp_path / name):
    sources += 1
    try:
      report = run(source)
    except PreparationError as error:
      assert "another form" not in str(error), error  # a row that is one
      refused += 1
      assert sources < 10 or refused < MOST_REFUSED * sources, name
      continue
    cut = any("cut" in r or "unreadable" in r for r in report.skipped)
    assert report.read >= least or cut, (report, least)
    total.add(report)
    if total.read >= RECORDS:
      break
  written = sum(total.written.values())
  skipped = sum(counts(total).values())
  print(
    f"{name}: read {total.read:,}, written {written:,}, skipped {skipped:,}, "
    f"sources refused {refused} of {sources}"
  )
  assert total.read == written + skipped >= RECORDS
  assert written > RECORDS / 10 and skipped


def test_every_source_that_is_read_is_damaged():
  """A source without a stream of damaged files would be trusted blindly."""
  read = {name for name, entry in CATALOG.items() if not entry.drawn}
  assert read <= {*STREAMS}


def test_a_reader_that_fails_is_counted():
  def broken():
    yield Example("a", PICTURE, ["x"])
    raise ZeroDivisionError

  _, report = read_source(Given(broken))
  assert report.skipped["reader failed: ZeroDivisionError"]["count"] == 1
  with pytest.raises(AssertionError):
    checked(report)
  job = Job(Given(lambda: [Example("a", PICTURE, 3)]), "t", [], *[None] * 4)
  assert list(read_records(job, 0, report)) == []
  assert report.skipped["reader failed: TypeError"]["count"] == 1
