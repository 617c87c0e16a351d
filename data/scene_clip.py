"""Short clips: objects that move, come and go, and what is told of them."""

import dataclasses
import random
from typing import NamedTuple

import numpy as np

from data.grammar import join_clauses
from data.noun_phrases import describe
from data.scene import Item, Level, sample_items

# Words for a way through the picture, and the unit of its direction.
MOTIONS = {
  "": (0, 0),
  " left to right": (1, 0),
  " right to left": (-1, 0),
  " top to bottom": (0, 1),
  " bottom to top": (0, -1),
}
_STILL_CHANCE = 0.4
_WHOLE_CHANCE = 0.5  # of an object to be there in every frame
_COVERED = 0.4  # share of an object's square that another may cover
_NEAR, _FAR = 0.16, 0.84  # where ways begin and end, of the side
_TRIES = 200


class Actor(NamedTuple):
  """An object of a clip.

  Attributes:
    item: Its words, its size and where it is in the middle of its way.
    motion: A key of MOTIONS.
    shown: First and last + 1 of the times at which it is there, in 0..1.
  """

  item: Item
  motion: str
  shown: tuple[float, float]

  def at(self, time: float) -> Item | None:
    """The object at a time in 0..1, or None while it is not there."""
    start, end = self.shown
    if not start <= time <= end:
      return None
    right, down = MOTIONS[self.motion]
    way = (_FAR - _NEAR) * (time - 0.5)
    item = self.item
    return dataclasses.replace(
      item, x=item.x + right * way, y=item.y + down * way
    )


def sample_actors(rng: np.random.Generator, level: Level) -> list[Actor]:
  """Objects of one clip that never hide each other.

  Args:
    rng: Source of every choice.
    level: Numbers and sizes.

  Returns:
    The objects, no two of which agree in all their words.
  """
  for _ in range(_TRIES):
    actors = [_actor(rng, item) for item in sample_items(rng, level)]
    if all(_apart(actors, time) for time in np.linspace(0, 1, 9)):
      break
  return actors


def _actor(rng: np.random.Generator, item: Item) -> Actor:
  motion = ""
  if rng.random() >= _STILL_CHANCE:
    motion = list(MOTIONS)[rng.integers(1, len(MOTIONS))]
    axis = "x" if MOTIONS[motion][0] else "y"
    item = dataclasses.replace(item, **{axis: 0.5})
  shown = (0.0, 1.0)
  if rng.random() >= _WHOLE_CHANCE:  # the first or the last half
    shown = ((0.0, 0.5), (0.5, 1.0))[rng.integers(2)]
  return Actor(item, motion, shown)


def _apart(actors: list[Actor], time: float) -> bool:
  items = [item for actor in actors if (item := actor.at(time))]
  for number, a in enumerate(items):
    for b in items[:number]:
      reach = (a.extent + b.extent) / 2
      shared = [max(reach - abs(d), 0) for d in (a.x - b.x, a.y - b.y)]
      if shared[0] * shared[1] > _COVERED * min(a.extent, b.extent) ** 2:
        return False
  return True


def clip_frames(actors: list[Actor], frames: int) -> list[list[Item]]:
  """The objects in each of `frames` frames, evenly spread over the clip."""
  times = (np.arange(frames) + 0.5) / frames
  return [
    [item for actor in actors if (item := actor.at(float(time)))]
    for time in times
  ]


def clip_captions(
  rng: random.Random, actors: list[Actor], *, count: int, longest: int
) -> list[str]:
  """Descriptions of a clip; the first names every object in full.

  Args:
    rng: Source of order and wording.
    actors: The objects.
    count: Captions wanted; fewer when there are no more wordings.
    longest: Largest number of words and marks.

  Returns:
    Distinct captions. The first tells the ways of all objects, later ones of
    some; one that would be too long tells none.
  """
  captions: dict[str, None] = {}
  for attempt in range(3 * count):
    full = not captions
    chance = 1.0 if full else 0.7 if attempt < 2 * count else 0.0
    text = _caption(rng, actors, full, chance)
    if _length(text) > longest:
      text = _caption(rng, actors, full, 0.0)
    if _length(text) <= longest:
      captions[text] = None
    if len(captions) == count:
      break
  return list(captions)


def _caption(
  rng: random.Random, actors: list[Actor], full: bool, chance: float
) -> str:
  """All objects in any order, each way told with a chance."""
  items = [actor.item for actor in actors]
  clauses = []
  for number in rng.sample(range(len(actors)), len(actors)):
    clause = [(describe(rng, items, number, full), (number,))]
    if actors[number].motion and rng.random() < chance:
      clause.append((actors[number].motion,))
    clauses.append(clause)
  return join_clauses(rng, clauses).text


def _length(text: str) -> int:
  return len(text.split()) + text.count(",")
