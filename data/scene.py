"""A scene: coloured objects with positions, sampled from a seed.

Sizes and positions are fractions of the image side, x to the right, y down.
"""

import dataclasses

import numpy as np

# Well separated hues, sRGB in 0..255; every object jitters around its own.
COLOURS = {
  "red": (214, 40, 38),
  "orange": (243, 132, 24),
  "yellow": (242, 218, 48),
  "green": (44, 158, 60),
  "cyan": (62, 204, 214),
  "blue": (44, 72, 204),
  "purple": (134, 50, 168),
  "pink": (244, 132, 184),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted", "checked")
TEXTURE_CHANCES = (0.64, 0.12, 0.12, 0.12)
KIN_CHANCE = 0.35  # of an object that differs from an earlier one in one word

Attributes = tuple[str, str, str, str]  # size, colour, texture, shape


@dataclasses.dataclass(frozen=True)
class Level:
  """Difficulty of a data set.

  Attributes:
    side: Pixels of the square image.
    most: Largest number of objects.
    extents: Smallest and largest extent per size word, fraction of the side.
    overlap: Largest share of an object's square that others may cover.
    clutter: Largest number of distractor marks behind the objects.
    longest: Largest number of words and punctuation marks in a caption.
  """

  side: int
  most: int
  extents: dict[str, tuple[float, float]]
  overlap: float
  clutter: int
  longest: int


DEFAULT = Level(
  side=64,
  most=4,
  extents={"small": (10 / 64, 14 / 64), "large": (20 / 64, 28 / 64)},
  overlap=0.0,
  clutter=0,
  longest=30,
)
HARD = Level(
  side=128,
  most=6,
  extents={"small": (15 / 128, 22 / 128), "large": (34 / 128, 48 / 128)},
  overlap=0.3,
  clutter=14,
  longest=38,
)


@dataclasses.dataclass(frozen=True)
class Item:
  """One object: its words, centre (x, y), extent and rotation in radians."""

  size: str
  colour: str
  texture: str
  shape: str
  x: float
  y: float
  extent: float
  angle: float

  @property
  def attributes(self) -> Attributes:
    return self.size, self.colour, self.texture, self.shape


def sample_items(rng: np.random.Generator, level: Level) -> list[Item]:
  """Objects of one scene, no two of which agree in all their words.

  Args:
    rng: Source of every choice.
    level: Numbers, sizes and overlap allowed.

  Returns:
    1 to `level.most` objects in drawing order: later ones lie on top.
  """
  words = _sample_words(rng, int(rng.integers(1, level.most + 1)))
  while True:
    bounds = np.array([level.extents[word[0]] for word in words])
    extents = rng.uniform(bounds[:, 0], bounds[:, 1])
    centres = _place(rng, extents, level.overlap)
    if centres is not None:
      break
    if rng.random() < 0.05:  # crowded time after time: one object less
      words = words[:-1]
  angles = rng.uniform(-0.26, 0.26, len(words))
  return [
    Item(*word, float(x), float(y), float(extent), float(angle))
    for word, (x, y), extent, angle in zip(words, centres, extents, angles)
  ]


def scene_meaning(items: list[Item]) -> tuple[Attributes, ...]:
  """What the full description of a scene says, whatever its order."""
  return tuple(sorted(item.attributes for item in items))


def _sample_words(rng: np.random.Generator, count: int) -> list[Attributes]:
  words: list[Attributes] = []
  while len(words) < count:
    candidate = [
      SIZES[rng.integers(len(SIZES))],
      list(COLOURS)[rng.integers(len(COLOURS))],
      TEXTURES[rng.choice(len(TEXTURES), p=TEXTURE_CHANCES)],
      SHAPES[rng.integers(len(SHAPES))],
    ]
    if words and rng.random() < KIN_CHANCE:
      kin = list(words[rng.integers(len(words))])
      # Size, colour or shape changes; a texture alone is too faint a hint.
      changed = (0, 1, 3)[rng.integers(3)]
      kin[changed] = candidate[changed]
      candidate = kin
    if tuple(candidate) not in words:
      words.append(tuple(candidate))
  return words


def _place(
  rng: np.random.Generator, extents: np.ndarray, overlap: float
) -> np.ndarray | None:
  """Centres [n, 2] of squares within the image, or None when crowded."""
  centres = np.zeros((len(extents), 2))
  covered = np.zeros(len(extents))
  gap = 0.0 if overlap else 0.02
  done: list[int] = []
  for index in np.argsort(-extents):  # large ones first: they fit or not
    half = extents[index] / 2
    tries = rng.uniform(half + 0.01, 1 - half - 0.01, (24, 2))
    if done:
      apart = np.abs(tries[:, None] - centres[done])
      reach = (extents[index] + extents[done]) / 2
      shared = np.clip(reach[:, None] + gap - apart, 0, None).prod(-1)
      areas = extents[done] ** 2
      fits = (shared.sum(-1) <= overlap * extents[index] ** 2) & (
        covered[done] + shared <= overlap * areas
      ).all(-1)
      if not fits.any():
        return None
      first = int(fits.argmax())
      covered[done] += shared[first]
      covered[index] = shared[first].sum()
    else:
      first = 0
    centres[index] = tries[first]
    done.append(index)
  return centres
