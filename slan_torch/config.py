"""config.json of an export, checked and read as attributes.

`config.model.adaptor.grid` is what configs/base.py of slan_jax explains as
`model.adaptor.grid`; `config.backbone` holds the shapes of the vision encoder.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

FORMAT = 1  # of config.json; another number means another layout
MODEL_TYPE = "slan"

# How detection by prompt chooses and scores regions, unless config.json tells:
# configs/base.py of slan_jax explains each.
DETECTION = {
  "top": 0,
  "threshold": 0.0,
  "temperature": 0.1,
  "nothing": 0.3,
  "fit": True,
  "nms": 0.5,
  "opening": "detect: ",
  "separator": ", ",
  "prompt_classes": 0,
  "max_length": 256,
  "learned": False,  # temperature and nothing are among the weights
  "phrases": False,  # learned from the boxes of phrases, so `ground` scores so
}

# How texts are written, unless config.json tells; explained there as well.
_WRITE = {
  "search": "beam",
  "beams": 3,
  "top_p": 0.9,
  "shortest": 1,
  "longest": 20,
  "repetition_penalty": 1.0,
}
WRITING = {
  "captioning": _WRITE,
  "vqa": _WRITE | {"longest": 10},
  "prompt": [],  # token ids that a caption begins with
}

_TOP = (
  "model_type slan_format dtype max_length token_ids captions learned backbone "
  "model"
)
_TOKENS = "pad unk cls sep mask"
_MODEL = {
  "": "width image_size image_mean image_std compute_dtype remat",
  "backbone": "name norm",
  "text": "vocab_size layers heads mlp_width max_positions function_ids",
  "generator": "layers heads mlp_width",
  "pyramid": "source scales convs",
  "detector": "encoder_layers decoder_layers width heads mlp_width queries "
  "reference reference_size",
  "filter": "top threshold normalise saliency_gradient add_query add_position",
  "adaptor": "levels grid windows window_units window_bounds roi_size "
  "sampling_ratio order words similarity temperature swap_axes pitch size "
  "clip_boxes min_size differentiable_boxes fusion heads refine assignment "
  "extent_threshold extent_softness move_threshold centre_decay",
  "word_map": "enabled width stride phrases phrase_window place_bound affinity "
  "affinity_scale affinity_distance affinity_window affinity_upsample "
  "competition peak_sharpness read_sharpness",
  "heads": "embed_dim matching_regions evidence",
}
_BACKBONES = {
  "vit": "kind patch width layers heads mlp_width middle_layer",
  "resnet": "kind stem stem_width block widths depths first_stride norm",
}


class Recipe(NamedTuple):
  """How a text is written; configs/base.py of slan_jax explains each field."""

  search: str
  beams: int
  top_p: float
  shortest: int
  longest: int
  repetition_penalty: float


class ExportError(ValueError):
  """A directory that is no export, or one that this version cannot read."""


def read_config(values: Any, source: str) -> SimpleNamespace:
  """The configuration as attributes.

  Args:
    values: parsed config.json.
    source: name of the file, for errors.

  Returns:
    Nested namespace; lists become tuples.

  Raises:
    ExportError: another model or version, or keys missing or unknown.
  """
  if not isinstance(values, dict) or values.get("model_type") != MODEL_TYPE:
    raise ExportError(
      f'{source}: expected "model_type": "{MODEL_TYPE}", as slan-export writes'
    )
  if values.get("slan_format") != FORMAT:
    raise ExportError(
      f"{source}: slan_format is {values.get('slan_format')!r}, this version "
      f"reads {FORMAT}; export again with the same version of the project"
    )
  _check(values, _TOP, source, "", extra=True)
  _check(values["token_ids"], _TOKENS, source, "token_ids")
  _check(values["model"], f"{_MODEL['']} {' '.join(_MODEL)}", source, "model")
  for section, keys in _MODEL.items():
    if section:
      _check(values["model"][section], keys, source, f"model.{section}")
  kind = _mapping(values["backbone"], source, "backbone").get("kind")
  if kind not in _BACKBONES:
    raise ExportError(
      f"{source}: backbone.kind is {kind!r}; expected one of "
      f"{', '.join(_BACKBONES)}"
    )
  _check(values["backbone"], _BACKBONES[kind], source, "backbone")
  given = _mapping(values.get("detection", {}), source, "detection")
  _check(DETECTION | given, " ".join(DETECTION), source, "detection")
  writing = WRITING | _mapping(values.get("writing", {}), source, "writing")
  _check(writing, " ".join(WRITING), source, "writing")
  for name in ("captioning", "vqa"):
    keys = " ".join(Recipe._fields)
    _check(writing[name], keys, source, f"writing.{name}")
  more = {"detection": DETECTION | given, "writing": writing}
  return _namespace(values | more)


def recipe(configured: SimpleNamespace, given: dict[str, Any]) -> Recipe:
  """A configured way of writing, with what was given in its place.

  Args:
    configured: fields of `Recipe`, as `read_config` returns them.
    given: some of them.

  Raises:
    ValueError: an unknown field, or values that cannot be.
  """
  if unknown := sorted(given.keys() - set(Recipe._fields)):
    raise ValueError(
      f"unknown {', '.join(unknown)}; choose of {', '.join(Recipe._fields)}"
    )
  made = Recipe(**vars(configured))._replace(**given)
  if made.search not in ("beam", "nucleus"):
    raise ValueError(f"search={made.search!r}; expected beam or nucleus")
  for name, search in (("beams", "beam"), ("top_p", "nucleus")):
    if name in given and made.search != search:
      raise ValueError(f"{name}={given[name]} belongs to search={search!r}")
  lengths = 0 <= made.shortest <= made.longest and made.longest >= 1
  shares = 0 < made.top_p <= 1 and made.repetition_penalty > 0
  if made.beams < 1 or not lengths or not shares:
    raise ValueError(
      f"{made}: expected 1 or more beams, 0 <= shortest <= longest, "
      "0 < top_p <= 1 and a repetition_penalty above 0"
    )
  return made


def _mapping(value: Any, source: str, where: str) -> dict[str, Any]:
  if not isinstance(value, dict):
    raise ExportError(f"{source}: {where or 'the file'} is no JSON object")
  return value


def _check(
  value: Any, keys: str, source: str, where: str, *, extra: bool = False
) -> None:
  found, wanted = set(_mapping(value, source, where)), set(keys.split())
  unknown = set() if extra else found - wanted
  if wanted - found or unknown:
    raise ExportError(
      f"{source}: {where or 'the file'} lacks {sorted(wanted - found)} and has "
      f"the unknown keys {sorted(unknown)}; it was written by another version"
    )


def _namespace(value: Any) -> Any:
  if isinstance(value, dict):
    return SimpleNamespace(**{k: _namespace(v) for k, v in value.items()})
  return tuple(map(_namespace, value)) if isinstance(value, list) else value
