"""AdamW with warm-up and linear decay (section 4.1 of the paper).

The learning rate is a function of the training step, not of the optimiser's
own count: a step that the non-finite guard skips still advances the schedule,
so that a run always ends at its final rate.
"""

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from slan_jax.training import config

Tree = Any
LOG = logging.getLogger(__name__)

# Leaves that weight decay must not touch although they may be 2-D when layers
# are stacked: biases, norms, temperatures and the size scales p_w, p_h.
UNDECAYED = re.compile(
  r"(^|/)(bias|scale|gain|mean|var|log_scale|[^/]*temperature)$"
)

# Share of the way down that is behind, by the share of the steps.
DECAYS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "linear": lambda done: done,
  "cosine": lambda done: (1.0 - jnp.cos(jnp.pi * done)) / 2,
}


def make_schedule(
  options: config.Optimizer, total_steps: int
) -> Callable[[jax.Array], jax.Array]:
  """Learning rate of a step: linear up, then down, linearly or as a cosine.

  Args:
    options: peak, warm-up steps, form of the decay, final fraction of the peak.
    total_steps: optimiser steps of the run.

  Returns:
    int32 step -> float32 rate; step `warmup_steps` has the peak, and a step
    numbered `total_steps`, one past the last, the final fraction of it. A run
    that ends within its warm-up only rises.

  Raises:
    ValueError: a negative warm-up, or an unknown form.
  """
  warmup, peak = options.warmup_steps, options.learning_rate
  if options.decay not in DECAYS:
    raise ValueError(
      f"optimizer.decay={options.decay!r}: choose one of {', '.join(DECAYS)}"
    )
  if warmup < 0:
    raise ValueError(f"optimizer.warmup_steps={warmup} must be at least 0")
  if warmup >= total_steps:
    LOG.warning(
      "the run of %d steps ends within its warm-up of %d (optimizer."
      "warmup_steps): the learning rate never reaches its peak",
      total_steps,
      warmup,
    )

  def rate(step: jax.Array) -> jax.Array:
    step = step.astype(jnp.float32)
    # The first step already learns: step 0 of a warm-up counts as 1.
    rising = (step + 1.0) / (warmup + 1.0)
    done = jnp.clip((step - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
    done = DECAYS[options.decay](done)
    falling = 1.0 - (1.0 - options.final_fraction) * done
    return peak * jnp.minimum(rising, falling)

  return rate


def decay_mask(params: Tree) -> Tree:
  """True where weight decay applies: matrices that `UNDECAYED` does not name.

  Args:
    params: parameters, or a tree of their shapes.

  Returns:
    Tree of bool.
  """

  def decays(path, leaf) -> bool:
    return leaf.ndim > 1 and not UNDECAYED.search(_name(path))

  return jax.tree_util.tree_map_with_path(decays, params)


def frozen_mask(params: Tree, patterns: Sequence[str]) -> Tree:
  """True where a parameter must stay as it is.

  Args:
    params: parameters, or a tree of their shapes.
    patterns: regular expressions, sought in paths as "slan/detector/query".

  Returns:
    Tree of bool.

  Raises:
    ValueError: a pattern that is no regular expression, or finds nothing.
  """
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
  names = [_name(path) for path in paths]
  for pattern in patterns:
    try:
      found = any(re.search(pattern, name) for name in names)
    except re.error as error:
      raise ValueError(f"optimizer.frozen: {pattern!r}: {error}") from error
    if not found:
      groups = sorted({"/".join(name.split("/")[:2]) for name in names})
      raise ValueError(
        f"optimizer.frozen: {pattern!r} is found in no parameter's path; "
        f"there are {', '.join(groups)}"
      )
  return jax.tree_util.tree_map_with_path(
    lambda path, _: any(re.search(p, _name(path)) for p in patterns), params
  )


def hold_frozen(
  params: Tree, patterns: Sequence[str]
) -> Callable[[Tree], Tree]:
  """Parameters as the loss gets them: no gradient is made of frozen ones.

  Args:
    params: parameters, or a tree of their shapes.
    patterns: as `frozen_mask` takes them.

  Returns:
    Parameters -> the same values.
  """
  mask = frozen_mask(params, patterns)

  def held(params: Tree) -> Tree:
    return jax.tree.map(
      lambda frozen, x: jax.lax.stop_gradient(x) if frozen else x, mask, params
    )

  return held


def _name(path: tuple) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")


def make_optimizer(options: config.Optimizer) -> optax.GradientTransformation:
  """AdamW's direction: clip by global norm, Adam, decoupled weight decay.

  The step multiplies the direction by minus the learning rate. Frozen
  parameters have no direction, and no part in the norm.
  """
  direction = optax.chain(
    optax.clip_by_global_norm(options.clip_norm),
    optax.scale_by_adam(b1=options.b1, b2=options.b2, eps=options.eps),
    optax.add_decayed_weights(options.weight_decay, mask=decay_mask),
  )
  if not options.frozen:
    return direction

  def frozen(params: Tree) -> Tree:
    return frozen_mask(params, options.frozen)

  stop = optax.masked(optax.set_to_zero(), frozen)
  # Before Adam, for the norm; behind the decay, which has no gradient.
  return optax.chain(stop, direction, stop)
