import itertools
from collections import Counter

import grain
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.schema import image_id, record
from slan_jax.input.errors import InputError
from slan_jax.input.loader import Loader
from slan_jax.input.mixture import Mixture, Visit
from tests.input.prepared import (
  block,
  input_config,
  picture,
  plain_records,
  write_dataset,
)

WEIGHTS = st.lists(st.integers(1, 10_000), min_size=1, max_size=5)
COUNTS = {"much": 5, "little": 3}  # records of each source


@given(WEIGHTS, st.integers(0, 10**12))
def test_counts_are_the_weighted_shares(weights, positions):
  counts = Mixture([7] * len(weights), weights, 0).visits(positions)
  assert sum(counts) == positions
  for place, (count, weight) in enumerate(zip(counts, weights)):
    assert abs(count - positions * weight / sum(weights)) <= place + 1


@given(WEIGHTS, st.integers(0, 10**9))
def test_each_position_is_the_next_visit_of_its_source(weights, start):
  mixture = Mixture([7] * len(weights), weights, 0)
  seen = mixture.visits(start)
  for position in range(start, start + 30):
    source, number = mixture.visit(position)
    assert number == seen[source]
    seen[source] += 1
  assert seen == mixture.visits(start + 30)


def test_weights_are_taken_as_written():
  tenths = Mixture([9, 9, 9], [0.1, 0.2, 0.7], 0)
  assert tenths.visits(10) == [1, 2, 7]
  assert tenths.visits(10**15) == [10**14, 2 * 10**14, 7 * 10**14]
  # Table 8 in thousands: one step of 14,073 images holds each source's share.
  table = [113.0, 100.0, 860.0, 3000.0, 10000.0]
  assert Mixture([9] * 5, table, 0).visits(14_073) == table


@pytest.mark.parametrize("length", [1, 10, 37])
def test_one_source_is_a_plain_shuffled_epoch_after_epoch(length):
  mixture = Mixture([length], [3.0], 5)
  order = grain.MapDataset.range(length).seed(5).shuffle().repeat()
  for position in range(4 * length):
    visit = mixture.visit(position)
    assert visit == (0, position)
    assert mixture.record(visit) == order[position]


def test_each_source_repeats_on_its_own_epoch_with_its_own_reshuffle():
  mixture = Mixture([5, 3, 5], [1.0, 2.0, 1.0], 0)
  order: list[list[int]] = [[], [], []]
  for position in range(120):
    visit = mixture.visit(position)
    order[visit.source].append(mixture.record(visit))
  for length, records in zip((5, 3, 5), order):
    epochs = [
      tuple(records[start : start + length])
      for start in range(0, len(records), length)
    ]
    assert all(sorted(epoch) == list(range(length)) for epoch in epochs)
    assert len(set(epochs)) > 3
  assert order[0] != order[2]  # of equal length, shuffled apart


def test_a_late_position_is_as_quick_as_an_early_one():
  mixture = Mixture([10**9, 10], [999.0, 1.0], 0)
  visit = mixture.visit(10**15)
  assert visit == Visit(0, mixture.visits(10**15)[0])
  assert 0 <= mixture.record(visit) < 10**9


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  """Two directories whose record ids tell source and number."""
  made = []
  for name, count in COUNTS.items():
    records = [
      record(f"{name}{n}", picture(n), (16, 16), [f"a red dog {'red ' * n}"])
      for n in range(count)
    ]
    directory = tmp_path_factory.mktemp(name)
    made.append((name, str(write_dataset(directory, train=records))))
  return made


def mixed(sources, weights=(3.0, 1.0), **changes):
  mixture = tuple((*source, w) for source, w in zip(sources, weights))
  config = input_config(mixture=mixture, batch_size=8, **changes)
  return sources[0][1], config


def ids(sources, count, position=0, **changes):
  directory, config = mixed(sources, **changes)
  loader = Loader(directory, config, position=position)
  batches = list(itertools.islice(loader, count))
  loader.close()
  return [row for batch in batches for row in batch["image_id"].tolist()]


def test_batches_hold_every_source_by_weight_and_every_record_once(sources):
  names = {
    image_id(f"{name}{n}"): name
    for name, count in COUNTS.items()
    for n in range(count)
  }
  seen = ids(sources, 10)
  for start in range(0, 80, 8):
    found = Counter(names[row] for row in seen[start : start + 8])
    assert found == {"much": 6, "little": 2}
  for name, count in COUNTS.items():
    own = [row for row in seen if names[row] == name]
    for start in range(0, len(own) - count, count):
      assert len({*own[start : start + count]}) == count


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_one_order_without_loss_or_repeat(sources, processes):
  parts = [
    ids(sources, 5, rows=block(p, processes, 8), threads=2)
    for p in range(processes)
  ]
  rows = 8 // processes
  joined = [
    row
    for batch in range(5)
    for part in parts
    for row in part[batch * rows : (batch + 1) * rows]
  ]
  assert joined == ids(sources, 5)


@pytest.mark.parametrize("position", [1, 4])
def test_a_mixture_resumes_anywhere(sources, position):
  whole = ids(sources, 6)
  assert ids(sources, 6 - position, position) == whole[8 * position :]


def test_one_source_as_a_mixture_is_the_directory_alone(sources):
  _, directory = sources[0]
  plain = Loader(directory, input_config())
  alone = input_config(mixture=(("much", directory, 2.0),))
  mixture = Loader(directory, alone)
  for ours, theirs in itertools.islice(zip(mixture, plain), 4):
    for name in theirs:
      assert (ours[name] == theirs[name]).all()
  plain.close()
  mixture.close()


def test_counts_are_kept_per_source(sources):
  directory, config = mixed(sources, max_length=4)
  loader = Loader(directory, config)
  next(loader)
  assert loader.skipped == {"much: truncated": 6, "little: truncated": 2}
  counts = loader.counts(loader.position, loader.skipped)
  assert counts == {
    "seen_much": 6,
    "faults_much": 6,
    "seen_little": 2,
    "faults_little": 2,
  }
  loader.close()
  plain = Loader(directory, input_config())
  assert plain.counts(3, {"truncated": 2}) == {}
  plain.close()


def test_a_bad_record_is_replaced_within_its_source(sources, tmp_path):
  records = plain_records(3)
  records[1] = record("broken", b"no picture", (16, 16), ["a dog"])
  spoilt = ("spoilt", str(write_dataset(tmp_path, train=records)))
  directory, config = mixed([sources[0], spoilt], (1.0, 1.0))
  loader = Loader(directory, config)
  batches = list(itertools.islice(loader, 3))
  good = {image_id("r0"), image_id("r2")}
  seen = [row for batch in batches for row in batch["image_id"].tolist()]
  assert sum(row in good for row in seen) == 12
  assert loader.skipped_names == {"spoilt: corrupt image": ["broken"]}
  loader.close()


def test_a_useless_source_is_named(sources, tmp_path):
  records = plain_records(2, captions=[" "])
  useless = ("useless", str(write_dataset(tmp_path, train=records)))
  directory, config = mixed([sources[0], useless])
  loader = Loader(directory, config)
  with pytest.raises(InputError, match=r"useless.*2 records.*empty caption"):
    next(loader)
  loader.close()


def test_a_missing_source_is_named(sources, tmp_path):
  directory, config = mixed([sources[0], ("b", str(tmp_path / "nowhere"))])
  with pytest.raises(InputError, match="nowhere"):
    Loader(directory, config)
