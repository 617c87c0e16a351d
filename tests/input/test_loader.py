import itertools

import numpy as np
import pytest

from data.schema import image_id, record
from slan_jax.input.errors import InputError
from slan_jax.input.loader import Loader
from tests.input.prepared import (
  block,
  damage,
  input_config,
  photograph,
  picture,
  plain_records,
  write_dataset,
)

RANDOM = {
  "flip": True,
  "randaugment": (2, 5),
  "crop_scale": (0.5, 1.0),
  "caption": "random",
  "hard_negatives": 2,
  "image_size": 32,
  "max_length": 32,
  "batch_size": 8,
}


def load(directory, count, position=0, **changes):
  loader = Loader(directory, input_config(**changes), position=position)
  batches = list(itertools.islice(loader, count))
  loader.close()
  return batches


def numbers(batches):
  """Which records of `plain_records` the batches show, from the pictures."""
  return [int(n) for b in batches for n in b["image"][:, 0, 0, 0]]


def assert_same(ours, theirs):
  assert len(ours) == len(theirs)
  for a, b in zip(ours, theirs):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
  return write_dataset(tmp_path_factory.mktemp("ten"), train=plain_records(10))


def test_batch_contract(scenes):
  (batch,) = load(scenes, 1, **RANDOM)
  shapes = {name: (rows.dtype.name, rows.shape) for name, rows in batch.items()}
  assert shapes == {
    "image": ("uint8", (8, 32, 32, 3)),
    "image_id": ("int32", (8,)),
    "text_id": ("int32", (8,)),
    "index": ("int64", (8,)),
    "text": ("int32", (8, 32)),
    "text_mask": ("bool", (8, 32)),
    "negatives": ("int32", (8, 2, 32)),
    "negatives_mask": ("bool", (8, 2, 32)),
  }


def test_each_epoch_holds_every_record_once_in_a_fresh_order(ten):
  # 10 records in batches of 4: batches run across the ends of epochs.
  seen = numbers(load(ten, 10))
  epochs = [seen[start : start + 10] for start in range(0, 40, 10)]
  assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 4
  assert numbers(load(ten, 10, seed=1)) != seen


def test_index_numbers_the_global_order(ten):
  index = [row for batch in load(ten, 3) for row in batch["index"]]
  assert index == list(range(12))
  ids = [i for batch in load(ten, 3) for i in batch["image_id"]]
  shown = [image_id(f"r{number}") for number in numbers(load(ten, 3))]
  assert ids == shown


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_one_global_order(scenes, processes):
  whole = load(scenes, 4, **RANDOM)
  parts = [
    load(scenes, 4, rows=block(p, processes, 8), **RANDOM)
    for p in range(processes)
  ]
  joined = [
    {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    for rows in zip(*parts)
  ]
  assert_same(joined, whole)


def test_rows_need_not_be_neighbours(scenes):
  whole, part = (
    load(scenes, 2, **RANDOM),
    load(scenes, 2, rows=(0, 3, 6), **RANDOM),
  )
  assert_same(part, [{n: v[[0, 3, 6]] for n, v in b.items()} for b in whole])


@pytest.mark.parametrize("position", [1, 3, 7])
def test_a_loader_resumes_anywhere(scenes, position):
  whole = load(scenes, 9, **RANDOM)
  rest = load(scenes, 9 - position, position, **RANDOM)
  assert_same(rest, whole[position:])


def test_threads_and_prefetch_change_nothing(scenes):
  one = load(scenes, 5, **RANDOM)
  many = load(scenes, 5, threads=4, prefetch=3, **RANDOM)
  assert_same(many, one)


def test_position_counts_what_was_consumed(ten):
  loader = Loader(ten, input_config(prefetch=3), position=2)
  assert loader.position == 2
  first, _ = next(loader), next(loader)
  assert loader.position == 4 and first["index"][0] == 8
  loader.close()


def test_visits_of_a_record_differ_by_epoch(scenes):
  batches = load(scenes, 10, **RANDOM)  # 40 records: two epochs
  visits = {}
  for batch in batches:
    for number, image in zip(batch["image_id"], batch["image"]):
      visits.setdefault(int(number), []).append(image.tobytes())
  assert len(visits) == 40
  assert sum(first != second for first, second in visits.values()) > 36


def test_negatives_differ_from_the_caption_by_a_word(scenes):
  loader = Loader(scenes, input_config(**RANDOM))
  for batch in itertools.islice(loader, 3):
    for row, caption in enumerate(batch["text"]):
      for ids, mask in zip(
        batch["negatives"][row], batch["negatives_mask"][row]
      ):
        assert mask.any() and (mask == (ids != 0)).all()
        changed = np.flatnonzero(ids != caption)
        # One word, and perhaps the article before it.
        assert 1 <= len(changed) <= 2 and np.ptp(changed) <= 1
        assert loader.encoder.decode(ids) != loader.encoder.decode(caption)
  loader.close()


def test_captions_without_negatives_have_an_empty_mask(tmp_path):
  records = plain_records(4, captions=["on and on"])
  directory = write_dataset(tmp_path, train=records)
  (batch,) = load(directory, 1, hard_negatives=3)
  assert batch["negatives"].shape == (4, 3, 12)
  assert not batch["negatives_mask"].any() and not batch["negatives"].any()


def test_a_swap_beyond_the_cut_is_no_negative(tmp_path):
  records = plain_records(4, captions=["on and on and on red"])
  directory = write_dataset(tmp_path, train=records)
  loader = Loader(directory, input_config(hard_negatives=2, max_length=6))
  assert not next(loader)["negatives_mask"].any()
  assert loader.skipped == {"truncated": 4}
  loader.close()


def test_equal_captions_share_a_text_id(tmp_path):
  records = plain_records(8)
  for number, made in enumerate(records):
    made["captions"] = ["A red dog." if number % 2 else "a red dog"]
  records[0]["captions"] = ["a blue dog"]
  directory = write_dataset(tmp_path, train=records)
  (batch,) = load(directory, 1, batch_size=8)
  ids = dict(zip(numbers([batch]), batch["text_id"].tolist()))
  assert len({ids[number] for number in range(1, 8)}) == 1
  assert ids[0] != ids[1]


@pytest.fixture
def spoilt(tmp_path):
  """Ten records of which five cannot be used, each for another reason."""
  noise = photograph(16, 16)
  records = plain_records(10)
  records[2] = record("broken", b"not a picture", (16, 16), ["a red dog"])
  records[3] = record("mute", picture(3), (16, 16), ["  "])
  records[5] = record("tiny", picture(5, 6), (6, 6), ["a red dog"])
  header, side = picture(6)[:16], (50_000).to_bytes(4, "big")
  bomb = header + side + side + picture(6)[24:]
  records[6] = record("bomb", bomb, (16, 16), ["a red dog"])
  pixels = np.random.default_rng(1).bytes(4000)
  records[8] = record("torn", noise + pixels, (16, 16), ["a red dog"])
  directory = write_dataset(tmp_path, train=records)
  damage(next(directory.glob("*train*")), noise + pixels)
  return directory


def test_bad_records_are_replaced_by_the_next_good_one_and_counted(spoilt):
  loader = Loader(spoilt, input_config(batch_size=10))
  seen = numbers([next(loader)])
  bad = {2, 3, 5, 6, 8}
  mixture = loader._mixture
  order = [mixture.record(mixture.visit(position)) for position in range(30)]
  expected = [
    next(number for number in order[position:] if number not in bad)
    for position in range(10)
  ]
  assert seen == expected
  visits = [order[p] for p in range(10) if order[p] in bad]
  assert len(visits) == 5
  names = loader.skipped_names
  assert names["corrupt image"] == ["broken"]
  assert names["empty caption"] == ["mute"]
  assert names["image under 8 pixels"] == ["tiny"]
  assert names["image over 67 megapixels"] == ["bomb"]
  assert names["unreadable record"] == ["record 8"]
  assert sum(loader.skipped.values()) >= 5
  loader.close()


def test_replacement_is_the_same_for_processes_and_restarts(spoilt):
  whole = load(spoilt, 6)
  parts = [load(spoilt, 6, rows=block(p, 2, 4)) for p in (0, 1)]
  assert numbers(whole) == [
    n for rows in zip(*parts) for n in numbers(list(rows))
  ]
  assert_same(load(spoilt, 3, 3), whole[3:])


def test_nothing_usable_is_an_error(tmp_path):
  records = plain_records(3, captions=[""])
  directory = write_dataset(tmp_path, train=records)
  loader = Loader(directory, input_config())
  with pytest.raises(InputError, match=r"3 records.*empty caption"):
    next(loader)
  loader.close()


def test_long_captions_are_cut_and_counted(ten):
  loader = Loader(ten, input_config(max_length=4))
  batch = next(loader)
  assert (batch["text"][:, -1] == loader.encoder.sep_id).all()
  assert loader.skipped == {"truncated": 4}
  assert len(loader.skipped_names["truncated"]) == 4
  loader.close()


def test_missing_data_is_an_error(tmp_path):
  with pytest.raises(InputError, match="nowhere"):
    Loader(tmp_path / "nowhere", input_config())
