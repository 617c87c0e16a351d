import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.flickr30k import Flickr30k
from tests.data.coco_source import encoded
from tests.data.sources.reading import dump, put, read


def entry(number, split):
  raw = f"Two  dogs run past number {number}."
  return {
    "sentids": [number],
    "imgid": number,
    "sentences": [
      {"tokens": ["two"], "raw": raw, "imgid": number, "sentid": number},
      {"tokens": [], "raw": " ", "imgid": number, "sentid": number + 1},
    ],
    "split": split,
    "filename": f"{number}.jpg",
  }


def test_karpathys_list(tmp_path):
  rows = [entry(1, "test"), entry(2, "train"), entry(3, "val"), entry(4, "val")]
  dump(
    tmp_path / "dataset_flickr30k.json",
    {"images": rows, "dataset": "flickr30k"},
  )
  for number in (1, 2, 3):
    put(tmp_path / "flickr30k-images" / f"{number}.jpg", encoded(40, 30))
  records, lost = read(Flickr30k(epath.Path(tmp_path)))
  assert list(records) == ["train", "val", "test"]
  assert records["test"]["1"]["captions"] == ["Two dogs run past number 1."]
  assert lost == [("image missing", "4")]


def test_a_broken_entry_costs_itself_alone(tmp_path):
  rows = [entry(number, "train") for number in range(5)]
  rows[1]["split"] = "../../out"
  rows[2]["filename"] = ["2.jpg"]
  rows[3]["sentences"] = [7]
  del rows[4]["sentences"]
  dump(tmp_path / "dataset_flickr30k.json", {"images": [*rows, None]})
  put(tmp_path / "images" / "0.jpg", encoded(40, 30))
  put(tmp_path / "images" / "3.jpg", encoded(40, 30))
  records, lost = read(Flickr30k(epath.Path(tmp_path)))
  assert {s: [*r] for s, r in records.items()} == {"train": ["0"]}
  reasons = [
    reason.replace("entry of 'images' lacks", "-") for reason, _ in lost
  ]
  assert reasons == [
    "- filename (text)",
    "- sentences (list)",
    "- filename (text), split (text), sentences (list)",
    "split is not a plain word",
    "no captions",
  ]
  assert lost[0][1] == "dataset_flickr30k.json: images 2"


def test_another_format_is_refused(tmp_path):
  source = Flickr30k(epath.Path(tmp_path))
  with pytest.raises(PreparationError, match=r"dataset_flickr30k\.json"):
    source.listing()
  dump(tmp_path / "dataset_flickr30k.json", {"images": [{"filename": "a"}]})
  with pytest.raises(PreparationError, match="entry 0 of 'images' lacks split"):
    source.listing()
  (tmp_path / "dataset_flickr30k.json").write_text("{")
  with pytest.raises(PreparationError, match="cannot be read"):
    source.listing()
