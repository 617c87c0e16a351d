"""Tokens per second of writing captions, with and without a cache.

`python -m benchmarks.generate [--config scenes|vit_b] [--images B] [--beams K]
[--longest T] [--repeats N]`: random parameters and images; greedy writing
without a cache reads prompt and text anew for every token. Beam search is timed
beside it. Every search is compiled once, and all take turns.
`tokens_per_second` counts all that a caption takes, `writing_alone` leaves out
the encoder and the locator, `look_ms`. `same_tokens` is the share of tokens
that are the same with a cache and without: below 1 where bfloat16 has ties.
"""

import argparse
import dataclasses
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from configs import finetune
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import to_dataclass
from slan_jax.models.slan import Slan
from slan_jax.tasks import captioning
from slan_jax.tasks.config import Captioning, Marks, Writing

MARKS = Marks(pad=0, unk=1, cls=2, sep=3, mask=4)
PROMPT = (5, 6, 7)


def main() -> None:
  """Prints one JSON object."""
  parser = argparse.ArgumentParser(description=__doc__)
  add = parser.add_argument
  add("--config", default="scenes", help="a name of configs/pretrain.py")
  add("--images", type=int, default=16)
  add("--beams", type=int, default=3)
  add("--longest", type=int, default=20)
  add("--repeats", type=int, default=5)
  print(json.dumps(measure(parser.parse_args()), indent=2))


def measure(options: argparse.Namespace) -> dict[str, Any]:
  """Times all three; see the module."""
  values = finetune.get_config(f"captioning,{options.config}")
  cfg = to_dataclass(values.to_dict(), Experiment).model
  text = dataclasses.replace(
    cfg.text,
    vocab_size=138 if options.config == "scenes" else 30_522,
    function_ids=(0, 1, 2, 3, 4),
  )
  model = Slan(dataclasses.replace(cfg, text=text))
  params = captioning.init_model(model, 8, jax.random.key(0))
  shape = (options.images, cfg.image_size, cfg.image_size, 3)
  images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  greedy = searching(model, 1, options.longest)
  anew = without_cache(model, options.longest)
  contenders = {
    "look": looking(model),
    "greedy": greedy,
    "beams": searching(model, options.beams, options.longest),
    "greedy_without_cache": anew,
  }
  machine = timing.describe_machine()
  times = timing.time_interleaved(
    {
      name: functools.partial(_finished, function, params, images)
      for name, function in contenders.items()
    },
    repeats=options.repeats,
  )
  medians = {name: row["median_ms"] for name, row in times.items()}
  ours, theirs = greedy(params, images).tokens, anew(params, images)
  return rates(medians, options.images * options.longest) | {
    "same_tokens": float(np.mean(np.asarray(ours) == np.asarray(theirs))),
    "images": options.images,
    "machine": machine,
  }


def rates(times: dict[str, float], tokens: int) -> dict[str, Any]:
  """Tokens per second of what takes so many milliseconds, looking included."""
  look = times["look"]
  rest = {name: value for name, value in times.items() if name != "look"}

  def rate(milliseconds: float) -> int:
    return round(1e3 * tokens / milliseconds)

  return {
    "look_ms": look,
    "tokens_per_second": {name: rate(t) for name, t in rest.items()},
    "writing_alone": {name: rate(t - look) for name, t in rest.items()},
  }


def _finished(function, params, images):
  return jax.block_until_ready(function(params, images))


def looking(model: Slan):
  """(params, images) -> what the decoder looks at, and its mask."""

  def look(params, images):
    call = lambda *a, method: model.apply(  # noqa: E731
      {"params": params["slan"]}, *a, method=method
    )
    states = call(images, method="encode_image")
    return captioning.locate_prompt(call, states, MARKS, PROMPT)[1]

  return jax.jit(look)


def searching(model: Slan, beams: int, longest: int):
  """(params, images) -> `decoding.Text`: writes to full length with a cache."""
  write = Writing("beam", beams, 0.9, longest, longest, 1.0)
  wanted = Captioning("", 0.0, write)
  predict = captioning.predictions(model, wanted, MARKS, PROMPT)

  def search(params, images):
    return predict["caption"](params, images, jnp.arange(len(images)))

  return jax.jit(search)


def without_cache(model: Slan, longest: int):
  """(params, images) -> tokens [B, T]: reads everything for every token."""

  look = looking(model)

  @jax.jit
  def read(params, ids, place, memory):
    mask = jnp.ones(ids.shape, bool)
    logits = model.apply(
      {"params": params["slan"]}, ids, mask, *memory, method="generate"
    )
    logits = logits[:, place - 1]
    hidden = jnp.array([MARKS.pad, MARKS.unk, MARKS.cls, MARKS.mask, MARKS.sep])
    token = jnp.argmax(logits.at[:, hidden].set(-jnp.inf), axis=-1)
    return ids.at[:, place].set(token)

  def run(params, images):
    memory = look(params, images)
    start = 1 + len(PROMPT)
    ids = jnp.zeros((len(images), start + longest), jnp.int32)
    ids = ids.at[:, :start].set(jnp.array([MARKS.cls, *PROMPT]))
    for place in range(start, start + longest):
      ids = read(params, ids, place, memory)
    return ids[:, start:]

  return run


if __name__ == "__main__":
  main()
