"""The parameters that every task begins with."""

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp

from slan_jax.models.slan import Slan


def init_model(model: Slan, max_length: int, key: jax.Array) -> dict[str, Any]:
  """The model's own parameters, and room for scalars that a loss learns.

  Args:
    model: the model.
    max_length: N, tokens of a text.
    key: typed PRNG key.

  Returns:
    "slan": what the model has; "objective": {}.
  """
  side = model.cfg.image_size
  image = jnp.zeros((1, side, side, 3), jnp.uint8)
  ids = jnp.zeros((1, max_length), jnp.int32)
  variables = model.init(key, image, ids, jnp.ones(ids.shape, bool))
  return {"slan": variables["params"], "objective": {}}


@contextlib.contextmanager
def fitting(source: Any) -> Iterator[None]:
  """Says of parameters that a model cannot take whose they are.

  Args:
    source: where they were read.

  Raises:
    ValueError: one is missing, or has another shape.
  """
  try:
    yield
  except (
    flax.errors.ScopeCollectionNotFound,
    flax.errors.ScopeParamNotFoundError,
    flax.errors.ScopeParamShapeError,
  ) as error:
    raise ValueError(
      f"{source}: its parameters are of another model, perhaps of an earlier "
      f"version ({error})"
    ) from error
