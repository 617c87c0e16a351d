"""Flickr30k with Karpathy's splits: photographs with five captions each.

dataset_flickr30k.json   flickr30k-images/*.jpg
"""

from etils import epath

from data.listing import (
  Listing,
  first_file,
  in_order,
  is_split,
  plain,
  read_json,
)
from data.row import Problem, Row
from data.row_source import RowSource

_FILE = "dataset_flickr30k.json"


class Flickr30k(RowSource):
  """Photographs with five captions each."""

  def read_listing(self) -> Listing:
    return read_flickr30k(self.root)


def read_flickr30k(root: epath.Path) -> Listing:
  """Reads Karpathy's list.

  Args:
    root: Directory of the list, with the pictures in it or below.

  Returns:
    train, val and test; captions as people wrote them (`raw`).

  Raises:
    PreparationError: The list is missing or has another format.
  """
  path = first_file(root, [_FILE, f"annotations/{_FILE}"], "Karpathy's list")
  problems: list[Problem] = []
  kinds = {"filename": str, "split": str, "sentences": list}
  table = read_json(path, {"images": kinds}, problems)
  splits: dict[str, list[Row]] = {}
  for entry in table["images"]:
    if not is_split(entry["split"]):
      problems.append(("split is not a plain word", entry["filename"]))
      continue
    captions = [
      plain(sentence.get("raw"))
      for sentence in entry["sentences"]
      if isinstance(sentence, dict)
    ]
    row = Row(
      name=entry["filename"].removesuffix(".jpg"),
      images=(entry["filename"],),
      folders=("flickr30k-images", "flickr30k_images", "images", ""),
      captions=tuple(captions),
    )
    splits.setdefault(entry["split"], []).append(row)
  ordered = {split: splits[split] for split in in_order(splits)}
  return Listing(ordered, problems=problems)
