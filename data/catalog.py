"""The data sets that can be prepared, by name."""

import importlib
from typing import NamedTuple

from data.source import Source


class Entry(NamedTuple):
  """Where a source is written, and what it is in a few words.

  Attributes:
    place: Module and class.
    text: For the command line's help.
    drawn: It is made up here: there is nothing to download.
  """

  place: str
  text: str
  drawn: bool = False

  def load(self) -> type[Source]:
    """The class; its module is imported only now."""
    module, _, name = self.place.partition(":")
    return getattr(importlib.import_module(module), name)


CATALOG = {
  "scenes": Entry(
    "data.scenes:Scenes", "drawn scenes of 1-4 objects, 64 pixels", drawn=True
  ),
  "scenes_hard": Entry(
    "data.scenes:ScenesHard",
    "drawn scenes of 1-6 objects, 128 pixels, with clutter",
    drawn=True,
  ),
  "coco_captions": Entry(
    "data.sources.coco_captions:CocoCaptions",
    "photographs with captions and boxes, from COCO's official files",
  ),
}
