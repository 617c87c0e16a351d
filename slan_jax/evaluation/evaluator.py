"""Drives predict functions over a split: fixed shapes, nothing counted twice.

Batches all have one size; the last is filled up with a repeated row whose
result is dropped. Texts wait in host memory, block after block where they do
not fit the budget. Images are encoded in chunks that stay on the devices while
they fit it and are encoded again otherwise, so a gallery of any size runs in
bounded memory.

Axis letters: B batch, I images, T texts, N tokens.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from slan_jax.evaluation.partial import NOTHING, Partial

Tree = Any
Predict = dict[str, Callable[..., Tree]]


class Batching(NamedTuple):
  """How a split is fed to the devices.

  Attributes:
    size: images or texts per encoder call.
    pairs: image-text pairs per call of the second stage.
    put: places a batch, the same in every process, on the devices; None = the
      default device.
    cache_bytes: device memory that encoded images may occupy, and host memory
      that encoded texts may.
    progress: whether to show a bar.
  """

  size: int
  pairs: int
  put: Callable[[Tree], Tree] | None = None
  cache_bytes: int = 2**31
  progress: bool = True

  def place(self, tree: Tree) -> Tree:
    """Puts a tree of arrays on the devices."""
    return jax.device_put(tree) if self.put is None else self.put(tree)


def progress_bar(name: str, batching: Batching) -> tqdm:
  """A bar that counts whatever is done, and goes when it is over."""
  return tqdm(desc=name, unit="", leave=False, disable=not batching.progress)


def batches(count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
  """Cuts rows 0..count-1 into batches of one size.

  Args:
    count: number of rows.
    size: rows of a batch.

  Yields:
    (int [size], used): the rows, filled up with the last one, and how many of
    them are real.
  """
  for start in range(0, count, size):
    rows = np.arange(start, start + size)
    yield np.minimum(rows, count - 1), min(size, count - start)


def take(tree: Tree, rows: Any) -> Tree:
  """The given rows of every array."""
  return jax.tree.map(lambda x: x[rows], tree)


def fetch(tree: Tree) -> Tree:
  """Brings arrays to the host, whole, also when other hosts hold parts."""

  def one(array):
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
      return multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)

  return jax.tree.map(one, tree)


@functools.lru_cache(maxsize=32)
def jitted(function: Callable[..., Tree]) -> Callable[..., Tree]:
  """Compiles a predict function once, however often a run evaluates.

  What is marked `eager` belongs to another framework and runs as it is.
  """
  return function if getattr(function, "eager", False) else jax.jit(function)


@functools.lru_cache(maxsize=8)
def paired(function: Callable[..., Tree]) -> Callable[..., Tree]:
  """Compiles what a predict function says of images of a chunk with texts.

  Args:
    function: (params, images, *texts), aligned.

  Returns:
    (params, chunk, rows, *texts), which first takes each pair's image, by its
    row, out of the chunk.
  """

  def run(params, chunk, rows, *texts):
    images = jax.tree.map(lambda x: jnp.take(x, rows, 0, mode="clip"), chunk)
    return function(params, images, *texts)

  return run if getattr(function, "eager", False) else jax.jit(run)


def encode_texts(
  predict: Predict,
  params: Tree,
  tokens: np.ndarray,
  mask: np.ndarray,
  batching: Batching,
  bar: tqdm,
) -> Tree:
  """Encodes all texts at once, whatever memory they need.

  Args:
    predict: holds encode_text.
    params: its parameters.
    tokens: int32 [T,N].
    mask: bool [T,N].
    batching: how they are fed.
    bar: told of every text.

  Returns:
    Their states on the host, leading axis T.
  """
  batching = batching._replace(cache_bytes=math.inf)
  ((_, states),) = text_blocks(predict, params, tokens, mask, batching, bar)
  return states


def text_blocks(
  predict: Predict,
  params: Tree,
  tokens: np.ndarray,
  mask: np.ndarray,
  batching: Batching,
  bar: tqdm,
) -> Iterator[tuple[slice, Tree]]:
  """Encodes texts block after block, each within `batching.cache_bytes`.

  A block is one batch at least, and all but the last are of whole batches. Who
  keeps a block while asking for the next one doubles the memory.

  Args:
    predict: as for `encode_texts`, like all others.
    params: its parameters.
    tokens: int32 [T,N].
    mask: bool [T,N].
    batching: how they are fed.
    bar: told of every text.

  Yields:
    The rows of a block, and their states on the host.
  """
  encode, block, held = jitted(predict["encode_text"]), slice(0, 0), None
  for rows, used in batches(len(tokens), batching.size):
    batch = batching.place((tokens[rows], mask[rows]))
    states = fetch(encode(params, *batch))
    if held is None:
      row = sum(x.nbytes for x in jax.tree.leaves(states)) / len(rows)
      start, count = int(rows[0]), len(tokens) - int(rows[0])
      if row * count > batching.cache_bytes:
        whole = int(batching.cache_bytes / row) // batching.size
        count = min(count, batching.size * max(1, whole))
      block = slice(start, start + count)
      held = jax.tree.map(
        lambda x, n=count: np.empty((n, *x.shape[1:]), x.dtype), states
      )
    place = slice(rows[0] - block.start, rows[0] - block.start + used)
    for own, new in zip(jax.tree.leaves(held), jax.tree.leaves(states)):
      own[place] = new[:used]
    bar.update(used)
    if rows[0] + used == block.stop:
      yield block, held
      held = None


class ImageChunks:
  """Encoded images, one chunk per batch, kept while they fit the budget."""

  def __init__(
    self,
    predict: Predict,
    params: Tree,
    images: Any,
    count: int,
    batching: Batching,
  ):
    """Encodes nothing yet.

    Args:
      predict: holds encode_image.
      params: its parameters.
      images: uint8 [I,S,S,3], or what an int array of rows indexes.
      count: I.
      batching: how they are fed; a chunk is one batch.
    """
    self._encode = functools.partial(jitted(predict["encode_image"]), params)
    self._images, self._batching = images, batching
    self._chunks = list(batches(count, batching.size))
    self._kept, self._bytes = {}, 0
    self.images = count

  def __len__(self) -> int:
    return len(self._chunks)

  def rows(self, chunk: int) -> np.ndarray:
    """Rows of the images of a chunk, without the filling."""
    rows, used = self._chunks[chunk]
    return rows[:used]

  def states(self, chunk: int) -> Tree:
    """States of a chunk on the devices, filling included."""
    if chunk in self._kept:
      return self._kept[chunk]
    rows, _ = self._chunks[chunk]
    batch = self._batching.place(np.asarray(self._images[rows]))
    states = self._encode(batch)
    size = sum(x.nbytes for x in jax.tree.leaves(states))
    if self._bytes + size <= self._batching.cache_bytes:
      self._kept[chunk] = states
      self._bytes += size
    return states


def score_all(
  predict: Predict,
  params: Tree,
  chunks: ImageChunks,
  texts: Tree,
  batching: Batching,
  bar: tqdm,
  partial: Partial = NOTHING,
  start: int = 0,
) -> dict[str, np.ndarray]:
  """First-stage scores of every image with every text.

  Args:
    predict: holds itc and, where the model has one, phrase.
    params: their parameters.
    chunks: the images.
    texts: states of the texts on the host.
    batching: how they are fed.
    bar: told of every image.
    partial: has the chunks that were finished before, and keeps these.
    start: row of the first of these texts among all.

  Returns:
    name -> float32 [I,T].
  """
  names = [name for name in ("itc", "phrase") if name in predict]
  count = len(jax.tree.leaves(texts)[0])
  scores = {
    name: np.zeros((chunks.images, count), np.float32) for name in names
  }
  shapes = [
    (len(names), len(chunks.rows(chunk)), count) for chunk in range(len(chunks))
  ]
  stage = partial.stage("first", [math.prod(s) for s in shapes], names, start)
  for chunk, shape in enumerate(shapes):
    rows, values = chunks.rows(chunk), stage.take(chunk)
    if values is None:
      values = np.empty(shape, np.float32)
      states = chunks.states(chunk)
      for columns, used in batches(count, batching.size):
        block = batching.place(take(texts, columns))
        for own, name in zip(values, names):
          found = fetch(jitted(predict[name])(params, states, block))
          own[:, columns[:used]] = found[: len(rows), :used]
      stage.add(chunk, values)
    for name, own in zip(names, values.reshape(shape)):
      scores[name][rows] = own
    bar.update(len(rows))
  return scores


def score_pairs(
  itm: Callable[..., Tree],
  params: Tree,
  chunks: ImageChunks,
  texts: Tree,
  wanted: np.ndarray,
  batching: Batching,
  bar: tqdm,
  partial: Partial = NOTHING,
  start: int = 0,
) -> np.ndarray:
  """Second-stage scores, pairs of one image together.

  Args:
    itm: scores aligned images and texts.
    params: its parameters.
    chunks: the images.
    texts: states of the texts on the host.
    wanted: bool [I,T], the pairs to score.
    batching: how they are fed.
    bar: told of every pair.
    partial: has the chunks that were finished before, and keeps these.
    start: row of the first of these texts among all.

  Returns:
    float32 [I,T]; zero where not wanted.
  """
  logits = np.zeros(wanted.shape, np.float32)
  score, count = paired(itm), range(len(chunks))
  sizes = [int(wanted[chunks.rows(chunk)].sum()) for chunk in count]
  stage = partial.stage("pairs", sizes, np.packbits(wanted), start)
  for chunk in count:
    rows = chunks.rows(chunk)
    image, text = np.nonzero(wanted[rows])
    if not image.size:
      continue
    values = stage.take(chunk)
    if values is None:
      values, states = np.empty(sizes[chunk], np.float32), chunks.states(chunk)
      for pairs, used in batches(image.size, batching.pairs):
        batch = (image[pairs].astype(np.int32), take(texts, text[pairs]))
        found = fetch(score(params, states, *batching.place(batch)))
        values[pairs[:used]] = found[:used]
        bar.update(used)
      stage.add(chunk, values)
    else:
      bar.update(len(values))
    logits[rows[image], text] = values
  return logits
