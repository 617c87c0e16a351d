"""Re-ranking: pairs a second, ours against a forward pass for every pair.

  python -m benchmarks.rerank --output FILE.json --shapes tiny,vit_b

Straightforward: every pair of a batch goes through the whole model, both
encoders included. Ours is what evaluation does: each text is encoded once, each
image once for all of its texts, and a pair costs its self-localisation and the
matching head alone; the aim is five times the pairs. Both score the same pairs
in batches of one size, with the same random parameters, and must rank every
image's texts alike. Our time includes all encoding.

Wall time says little on a shared machine; processor time is given beside it.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import timing
from configs import pretrain as configs
from slan_jax.evaluation import evaluator
from slan_jax.evaluation.evaluator import Batching
from slan_jax.jobs.common import experiment_of
from slan_jax.models import config
from slan_jax.models.slan import Slan
from slan_jax.tasks import retrieval

VOCABULARY = {"tiny": 120, "vit_b": 30_522}  # the scenes', BERT's
TOLERANCE = 1e-3  # of log odds, which order in float32 may differ by


class Shape(NamedTuple):
  """What is scored.

  Attributes:
    name: of configs/pretrain.py.
    images, texts: every image is paired with every text.
    batch: pairs, images or texts of a call.
  """

  name: str
  images: int
  texts: int
  batch: int


SHAPES = {
  "tiny": Shape("scenes", 16, 64, 32),
  "vit_b": Shape("vit_b", 2, 16, 4),
}


def main() -> None:
  timing.keep_pages()
  parser = timing.make_parser(__doc__.splitlines()[0])
  parser.set_defaults(repeats=1)
  parser.add_argument("--shapes", default="tiny,vit_b", help="some of both")
  parser.add_argument(
    "--cache-bytes", type=int, default=2**31, help="for encoded images"
  )
  arguments = timing.parse(parser)
  machine = timing.describe_machine()
  rows, ratios = [], {}
  for name in arguments.shapes.split(","):
    found = compare(name, SHAPES[name], arguments)
    rows += found
    for unit in ("wall", "cpu"):
      ours, theirs = (row[f"pairs_per_{unit}_second"] for row in found)
      ratios[f"{name}, {unit} time"] = ours / theirs
  timing.write_report(
    arguments.output,
    machine=machine,
    versions=timing.read_versions("slan_jax", "jax"),
    rows=rows,
    ratios=ratios,
  )


def model_of(name: str, shape: Shape) -> config.Slan:
  """The configured model, in the float32 that a CPU computes in."""
  cfg = experiment_of(configs.get_config(shape.name)).model
  text = dataclasses.replace(
    cfg.text, vocab_size=VOCABULARY[name], function_ids=(0, 1, 2, 3, 4, 5, 6)
  )
  return dataclasses.replace(cfg, text=text, compute_dtype="float32")


class Inputs(NamedTuple):
  """Random pictures and texts of a shape: images, ids and their mask."""

  images: np.ndarray
  ids: np.ndarray
  mask: np.ndarray


def make_inputs(cfg: config.Slan, shape: Shape, length: int = 30) -> Inputs:
  """Noise, and texts of 10 to 30 tokens."""
  rng = np.random.default_rng(0)
  side, texts = cfg.image_size, shape.texts
  lengths = rng.integers(10, length + 1, (texts, 1))
  return Inputs(
    rng.integers(0, 256, (shape.images, side, side, 3), np.uint8),
    rng.integers(7, cfg.text.vocab_size, (texts, length)).astype(np.int32),
    np.arange(length)[None] < lengths,
  )


def compare(
  name: str, shape: Shape, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
  """Times both ways; stops unless they rank alike.

  Returns:
    A row for ours, then one for the straightforward way.
  """
  cfg = model_of(name, shape)
  model, inputs = Slan(cfg), make_inputs(cfg, shape)
  init = jax.jit(model.init)
  first = jax.tree.map(lambda array: array[:1], inputs)
  params = {"slan": init(jax.random.key(0), *first)["params"]}
  ways = {
    "ours": functools.partial(
      ours, model, params, inputs, shape, arguments.cache_bytes
    ),
    "straightforward": functools.partial(
      straightforward, model, params, inputs, shape
    ),
  }
  pairs, rows, scores = shape.images * shape.texts, [], {}
  for way, call in ways.items():
    scores[way] = call()  # compiles
    wall, cpu = time_both(call, arguments.repeats)
    rows.append(
      {
        "shape": name,
        "way": way,
        "pairs": pairs,
        "batch": shape.batch,
        "pairs_per_wall_second": round(pairs / wall, 3),
        "pairs_per_cpu_second": round(pairs / cpu, 3),
      }
    )
  check_ranking(scores["ours"], scores["straightforward"])
  return rows


def time_both(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
  """Shortest wall and processor seconds of some calls."""
  spent = []
  for _ in range(repeats):
    start = time.perf_counter(), time.process_time()
    call()
    spent.append(
      (time.perf_counter() - start[0], time.process_time() - start[1])
    )
  return min(wall for wall, _ in spent), min(cpu for _, cpu in spent)


def ours(
  model: Slan, params: Any, inputs: Inputs, shape: Shape, cache_bytes: int
) -> np.ndarray:
  """Log odds [I, T] by the second stage of evaluation."""
  predict = predictions(model)
  batching = Batching(
    shape.batch, shape.batch, cache_bytes=cache_bytes, progress=False
  )
  with evaluator.progress_bar("", batching) as bar:
    texts = evaluator.encode_texts(
      predict, params, inputs.ids, inputs.mask, batching, bar
    )
    chunks = evaluator.ImageChunks(
      predict, params, inputs.images, shape.images, batching
    )
    wanted = np.ones((shape.images, shape.texts), bool)
    return evaluator.score_pairs(
      predict["itm"], params, chunks, texts, wanted, batching, bar
    )


@functools.cache  # the same functions at every call: compiled once
def predictions(model: Slan) -> dict[str, Callable]:
  """What evaluation drives."""
  return retrieval.predictions(model)


def straightforward(
  model: Slan, params: Any, inputs: Inputs, shape: Shape
) -> np.ndarray:
  """Log odds [I, T], the whole model run on every pair."""
  image, text = np.divmod(np.arange(shape.images * shape.texts), shape.texts)
  odds = []
  for rows, used in evaluator.batches(image.size, shape.batch):
    batch = (
      inputs.images[image[rows]],
      inputs.ids[text[rows]],
      inputs.mask[text[rows]],
    )
    odds.append(np.asarray(whole_model(model)(params, *batch))[:used])
  return np.concatenate(odds).reshape(shape.images, shape.texts)


@functools.cache
def whole_model(model: Slan) -> Callable[..., jax.Array]:
  """Both encoders, self-localisation and ITM of aligned pairs, compiled."""

  def forward(params, image, ids, mask):
    made = retrieval.predictions(model)
    images = made["encode_image"](params, image)
    texts = made["encode_text"](params, ids, mask)
    return made["itm"](params, images, texts)

  return jax.jit(forward)


def check_ranking(first: np.ndarray, second: np.ndarray) -> None:
  """Stops when an image's texts rank otherwise, near ties aside.

  Raises:
    SystemExit: log odds differ by more than TOLERANCE of their spread.
  """
  spread = max(float(np.std(second)), 1e-6)
  difference = float(np.abs(first - second).max())
  if not difference <= TOLERANCE * spread:
    raise SystemExit(
      f"log odds differ by {difference}, with a spread of {spread}"
    )
  # Where two texts are further apart than that, their order is the same.
  gap = second[:, :, None] - second[:, None]
  clear = np.abs(gap) > 2 * TOLERANCE * spread
  order = np.sign(first[:, :, None] - first[:, None]) == np.sign(gap)
  if not order[clear].all():
    raise SystemExit("an image's texts rank otherwise")


if __name__ == "__main__":
  main()
