"""Frames of a video file, encoded one by one."""

import os
import random
from typing import NamedTuple

import cv2

from data.errors import Unusable

CHOICES = ("uniform", "random")
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


class Clip(NamedTuple):
  """How to take frames from a video.

  Attributes:
    frames: Number of frames; a video that has fewer repeats some.
    choice: "uniform": the first one of each of equal parts; "random": any, in
      their order (4.2.5: "randomly select").
    seed: Of the random choice, together with the file's name.
  """

  frames: int
  choice: str
  seed: int


class _EndsEarly(Exception):
  """The file holds fewer frames than it says: so many."""


def read_frames(path: str, clip: Clip) -> list[tuple[bytes, tuple[int, int]]]:
  """Frames of a video.

  Args:
    path: A file that OpenCV's reader opens.
    clip: Which frames.

  Returns:
    Each frame as JPEG, and its width and height in pixels.

  Raises:
    Unusable: It is not a video, or has no whole frame.
  """
  video = cv2.VideoCapture(path)
  total = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
  video.release()
  while total > 0:
    try:
      return _grab(path, choose(total, clip, os.path.basename(path)))
    except _EndsEarly as error:
      total = min(error.args[0], total - 1)
  raise Unusable("video corrupt")


def choose(total: int, clip: Clip, name: str) -> list[int]:
  """Numbers of the frames to take, ascending, of a video of `total`."""
  if clip.choice == "random" and total >= clip.frames:
    rng = random.Random(f"{clip.seed} {name}")
    return sorted(rng.sample(range(total), clip.frames))
  return [number * total // clip.frames for number in range(clip.frames)]


def _grab(path: str, numbers: list[int]) -> list[tuple[bytes, tuple[int, int]]]:
  """Reads on to each frame: in many files seeking lands elsewhere."""
  video = cv2.VideoCapture(path)
  taken: dict[int, tuple[bytes, tuple[int, int]]] = {}
  try:
    for place in range(numbers[-1] + 1):
      if not video.grab():
        raise _EndsEarly(place)
      if place in numbers:
        whole, frame = video.retrieve()
        if not whole:
          raise _EndsEarly(place)
        encoded = cv2.imencode(".jpg", frame, _JPEG)[1].tobytes()
        taken[place] = encoded, (frame.shape[1], frame.shape[0])
  finally:
    video.release()
  return [taken[number] for number in numbers]
