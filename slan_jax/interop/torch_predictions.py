"""The PyTorch model in the place of the JAX one: what evaluation asks of it.

Parameters come as JAX's tree and states go as numpy arrays, so that
`slan_jax.evaluation` drives either framework and counts both alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from slan_jax.interop.twin import make_twin, to_torch
from slan_jax.models import config

Tree = Any


def predictions(
  model: config.Slan, token_ids: dict[str, int], detection: Mapping[str, Any]
) -> dict[str, Callable]:
  """The functions of slan_jax.tasks.retrieval and grounding, by PyTorch.

  Args:
    model: complete, vocabulary included, with the region filter that is asked.
    token_ids: of pad, unk, cls, sep and mask.
    detection: of `export.detection_values`.

  Returns:
    name -> (params, ...) -> numpy arrays. Each has `eager`: it is not compiled.

  Raises:
    ImportError: torch is not installed.
  """
  import slan_torch  # noqa: F401  before any work

  twin = _Twin(model, token_ids, detection)
  names = ("encode_image", "encode_text", "itc", "itm", "ground")
  methods = {name: name for name in names}
  if model.word_map.enabled:
    methods["phrase"] = "phrase_similarity"
  return {name: _Eager(twin, method) for name, method in methods.items()}


class _Twin:
  """The PyTorch model of the parameters that were last seen."""

  def __init__(self, *settings: Any):
    self._settings = settings
    self._params, self._made = None, None

  def of(self, params: Tree) -> Any:
    if self._made is None or params is not self._params:
      model, token_ids, detection = self._settings
      self._made = make_twin(model, params, token_ids, detection)
      self._params = params
    return self._made


class _Eager:
  """One method as a predict function."""

  eager = True

  def __init__(self, twin: _Twin, method: str):
    self._twin, self._method = twin, method

  def __call__(self, params: Tree, *arguments: Tree) -> Tree:
    import torch

    model = self._twin.of(params)
    given = jax.tree.map(to_torch, arguments)
    with torch.no_grad():
      found = getattr(model, self._method)(*given)
    return jax.tree.map(lambda x: x.numpy(), found)
