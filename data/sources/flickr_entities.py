"""Reader of Flickr30k Entities: captions whose phrases have boxes.

    Sentences/ID.txt   Annotations/ID.xml   train.txt val.txt test.txt
    flickr30k-images/ID.jpg

The lists of ids differ from Karpathy's splits of the same pictures.
"""

import re
from xml.etree import ElementTree

from etils import epath

from data.errors import PreparationError, Unusable
from data.listing import Listing, read_lines
from data.row import Box, PhraseRow, Problem, Row
from data.row_source import RowSource
from data.source import check_inside, stated_size

_LISTS = ("train", "val", "test")
# [/EN#chain/type/type some words]
_PHRASE = re.compile(r"\[/EN#(\w+)/(\S+)\s+([^\]]*?)\s*\]")
_NOT_VISUAL = "0"  # the chain of phrases that nobody annotated


class FlickrEntities(RowSource):
  """Flickr30k Entities."""

  def read_listing(self) -> Listing:
    return read_entities(self.root)


def read_entities(root: epath.Path) -> Listing:
  """Reads the official files.

  Args:
    root: Directory that holds them, with the pictures in it or below.

  Returns:
    The splits that have a list. Phrases keep every box of their chain; those
    that are a scene, have no box or are not visual have none. The chain's own
    boxes are kept apart: evaluation merges them where a protocol asks for it.

  Raises:
    PreparationError: Sentences, Annotations or every list is missing.
  """
  for folder in ("Sentences", "Annotations"):
    if not (root / folder).is_dir():
      raise PreparationError(
        f"--source {root} holds no {folder}/; expected the files of "
        "Flickr30k Entities: Sentences/, Annotations/, train.txt, ..."
      )
  lists = {s: root / f"{s}.txt" for s in _LISTS}
  found = {split: path for split, path in lists.items() if path.is_file()}
  if not found:
    raise PreparationError(
      f"--source {root} holds no list of ids; expected train.txt, val.txt "
      "or test.txt of Flickr30k Entities"
    )
  problems: list[Problem] = []
  return Listing(
    {split: _rows(root, path, problems) for split, path in found.items()},
    ("phrase_kinds",),
    problems,
  )


def _rows(
  root: epath.Path, path: epath.Path, problems: list[Problem]
) -> list[Row]:
  rows = []
  for name in (line.strip() for line in read_lines(path, problems)):
    if not name:
      continue
    try:
      check_inside(name)
      lines = read_lines(root / "Sentences" / f"{name}.txt")
    except Unusable as error:
      problems.append((str(error), name))
      continue
    except PreparationError:
      problems.append(("sentences missing or not UTF-8", name))
      continue
    notes = ()
    try:
      size, boxes = read_boxes(root / "Annotations" / f"{name}.xml")
    except (OSError, ValueError, LookupError, ElementTree.ParseError):
      size, boxes = None, {}
      notes = ("annotations missing or broken: no boxes",)
    parsed = [parse_sentence(line) for line in lines if line.strip()]
    rows.append(
      Row(
        name=name,
        images=(f"{name}.jpg",),
        folders=("flickr30k-images", "flickr30k_images", "images", ""),
        captions=tuple(caption for caption, _ in parsed),
        phrases=tuple(
          PhraseRow(text, number, start, end, tuple(boxes.get(chain, ())), kind)
          for number, (_, phrases) in enumerate(parsed)
          for text, start, end, chain, kind in phrases
        ),
        size=size,
        notes=notes,
      )
    )
  return rows


def parse_sentence(
  line: str,
) -> tuple[str, list[tuple[str, int, int, str, str]]]:
  """A line of Sentences/ID.txt.

  Args:
    line: Words, with phrases as [/EN#chain/type/type some words].

  Returns:
    The caption without marks; text, first and last + 1 character, chain and
    types of each phrase, the types joined by "/" as written.
  """
  caption, phrases, place = "", [], 0
  for match in _PHRASE.finditer(line):
    caption = _joined(caption, line[place : match.start()])
    chain, kind, words = match.groups()
    text = " ".join(words.split())
    caption = _joined(caption, text)
    start = len(caption) - len(text)
    phrases.append((text, start, len(caption), chain, kind))
    place = match.end()
  return _joined(caption, line[place:]), phrases


def _joined(caption: str, more: str) -> str:
  return (
    " ".join([caption, *more.split()]) if caption else " ".join(more.split())
  )


def read_boxes(
  path: epath.Path,
) -> tuple[tuple[int, int] | None, dict[str, list[Box]]]:
  """Annotations/ID.xml.

  Args:
    path: The file. Its pixels count from 1; one is taken from all four
      numbers, as the authors' own reader does.

  Returns:
    Width and height if stated; boxes of each chain, x1, y1, x2, y2 in pixels
    measured from the corner. A box may belong to several chains. Chains that
    are a scene or have no box are not there.

  Raises:
    OSError, ValueError, LookupError, ElementTree.ParseError: It is not such a
      file, or of an encoding that is not known.
  """
  root = ElementTree.fromstring(path.read_bytes())
  boxes: dict[str, list[Box]] = {}
  for thing in root.iterfind("object"):
    corners = thing.find("bndbox")
    if corners is None:  # a scene, or not to be seen
      continue
    x1, y1, x2, y2 = (
      float(corners.findtext(key, "nan"))
      for key in ("xmin", "ymin", "xmax", "ymax")
    )
    for chain in thing.iterfind("name"):
      if chain.text and chain.text != _NOT_VISUAL:
        boxes.setdefault(chain.text, []).append(
          (x1 - 1, y1 - 1, x2 - 1, y2 - 1)
        )
  size = root.find("size")
  if size is None:
    return None, boxes
  sides = (size.findtext(key) for key in ("width", "height"))
  return stated_size(sides), boxes
