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
  "scenes_vqa": Entry(
    "data.scenes_vqa:ScenesVqa",
    "drawn scenes with questions, ten answers each",
    drawn=True,
  ),
  "scenes_nlvr2": Entry(
    "data.scenes_nlvr2:ScenesNlvr2",
    "statements about pairs of drawn scenes",
    drawn=True,
  ),
  "scenes_clips": Entry(
    "data.scenes_clips:ScenesClips",
    "short clips of drawn objects that move, with captions",
    drawn=True,
  ),
  "coco_captions": Entry(
    "data.sources.coco_captions:CocoCaptions",
    "photographs with captions and boxes, from COCO's official files",
  ),
  "visual_genome": Entry(
    "data.sources.visual_genome:VisualGenome",
    "photographs with descriptions of regions, from the official files",
  ),
  "sbu": Entry("data.sources.web:Sbu", "SBU Captions, as you fetched it"),
  "cc3m": Entry(
    "data.sources.web:Cc3m", "Conceptual Captions, as you fetched it"
  ),
  "cc12m": Entry("data.sources.web:Cc12m", "Conceptual 12M, as you fetched it"),
  "manifest": Entry(
    "data.sources.manifest:Manifest",
    "your own pictures: JSON lines, a table, or a folder with texts",
  ),
  "flickr30k": Entry(
    "data.sources.flickr30k:Flickr30k",
    "Flickr30k's photographs and captions, Karpathy's splits",
  ),
  "flickr_entities": Entry(
    "data.sources.flickr_entities:FlickrEntities",
    "Flickr30k's photographs, phrases with boxes",
  ),
  "coco_detection": Entry(
    "data.sources.coco_detection:CocoDetection",
    "COCO's photographs with boxes of 80 classes",
  ),
  "vqa": Entry("data.sources.vqa:Vqa", "VQA v2: questions with ten answers"),
  "nlvr2": Entry(
    "data.sources.nlvr2:Nlvr2", "statements about pairs of pictures"
  ),
  "msrvtt": Entry(
    "data.sources.msrvtt:MsrVtt", "MSR-VTT, 1k-A: frames of videos, sentences"
  ),
}
