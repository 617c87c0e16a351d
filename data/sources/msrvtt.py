"""Reader of MSR-VTT with the 1k-A split: videos with sentences.

MSRVTT_data.json   MSRVTT_JSFUSION_test.csv   videos/ (or videos/all/)
MSRVTT_train.9k.csv (if there is one)         video0.mp4 ...
"""

import argparse
from typing import Self

from etils import epath

from data.clip import CHOICES, Clip
from data.errors import PreparationError
from data.listing import Listing, first_file, plain, read_json, read_table
from data.row import Problem, Row
from data.row_source import RowSource
from data.source import at_least

_DATA = "MSRVTT_data.json"
_TEST = "MSRVTT_JSFUSION_test.csv"
_TRAIN = "MSRVTT_train.9k.csv"


class MsrVtt(RowSource):
  """Frames of videos, with sentences."""

  per_shard = 250  # a video takes far longer than a picture
  clip = Clip(8, "uniform", 0)

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
      "--frames", type=at_least(1), default=8, help="of each video"
    )
    parser.add_argument("--frame-choice", choices=CHOICES, default="uniform")
    parser.add_argument(
      "--seed",
      type=at_least(0),
      default=0,
      help="of the random choice of frames",
    )

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    made = cls(options.source)
    made.clip = Clip(options.frames, options.frame_choice, options.seed)
    return made

  def read_listing(self) -> Listing:
    return read_msrvtt(self.root, self.clip)


def read_msrvtt(root: epath.Path, clip: Clip) -> Listing:
  """Reads the official sentences and the lists of the 1k-A split.

  Args:
    root: Directory of the files, at the top or in annotations/.
    clip: How to take frames.

  Returns:
    `test`: the 1,000 videos of the list, one sentence each. `train`: the
    videos of the 9k list, or all others where there is none, with all their
    sentences. The first frame is the picture, the others follow it.

  Raises:
    PreparationError: A file is missing or has another format.
  """
  places = [root, root / "annotations"]
  problems: list[Problem] = []
  table = read_json(
    first_file(root, [_DATA, f"annotations/{_DATA}"], "sentences of MSR-VTT"),
    {
      "videos": {"video_id": str},
      "sentences": {"video_id": str, "caption": str},
    },
    problems,
  )
  test = _column(
    first_file(root, [_TEST, f"annotations/{_TEST}"], "list of 1k-A"),
    ("video_id", "sentence"),
    problems,
  )
  listed = next((p / _TRAIN for p in places if (p / _TRAIN).is_file()), None)
  if listed:
    train = [row[0] for row in _column(listed, ("video_id",), problems)]
  else:
    train = [row["video_id"] for row in table["videos"]]
  held_out = {video for video, _ in test}
  told: dict[str, list[str]] = {}
  for row in table["sentences"]:
    text = plain(row["caption"])
    if text:
      told.setdefault(row["video_id"], []).append(text)

  def row(video: str, captions: list[str]) -> Row:
    return Row(
      name=video,
      images=(f"{video}.mp4",),
      folders=("videos", "videos/all", ""),
      captions=tuple(captions),
      clip=clip,
    )

  splits = {
    "train": [row(v, told.get(v, [])) for v in train if v not in held_out],
    "test": [row(video, [plain(text)]) for video, text in test],
  }
  return Listing(
    {split: rows for split, rows in splits.items() if rows},
    ("more_images",),
    problems,
  )


def _column(
  path: epath.Path, names: tuple[str, ...], problems: list[Problem]
) -> list[list[str]]:
  """The named columns of a table; lines that lack one are left out."""
  table = read_table(path, problems)
  _, header = next(table, (0, []))
  missing = set(names) - set(header)
  if missing:
    raise PreparationError(
      f"{path}: no column {', '.join(sorted(missing))}; it has {header}"
    )
  places = [header.index(name) for name in names]
  rows = []
  for number, values in table:
    found = [values[place] for place in places if place < len(values)]
    if len(found) == len(names) and all(found):
      rows.append(found)
    elif any(value.strip() for value in values):
      problems.append(("incomplete line", f"{path.name}:{number}"))
  return rows
