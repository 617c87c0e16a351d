"""The whole model's row of the table: our paths and slan_torch's names.

slan_torch spells a path with dots and counts stacked layers; so each row of
the published tables serves again, and only parts that no published file has
are listed here. Read in both directions by `slan_jax.interop.convert`.
"""

from slan_jax.interop import names
from slan_jax.interop.names import Kind, Row

# A form of published files -> ours, where slan_torch needs no special layout.
_PLAIN = {"pointwise": "dense", "rows": "array"}
_STACKS = ("layers", "transformer/encoder", "transformer/decoder")


def _rows(prefix: str, rows: tuple[Row, ...]) -> list[Row]:
  """Rows of a part of the model, under its path."""
  return [
    Row(
      _path("slan", prefix, row.path),
      _PLAIN.get(row.form, row.form),
      _path(prefix, _counted(row.path)).replace("/", "."),
    )
    for row in rows
  ]


def _path(*parts: str) -> str:
  return "/".join(part for part in parts if part)


def _counted(path: str) -> str:
  for stack in _STACKS:
    if path.startswith(stack + "/"):
      return path.replace(stack, stack + "/{i}", 1)
  return path


def _table(table: str) -> tuple[Row, ...]:
  """Lines of a form and the paths that have it."""
  lines = (line.split() for line in table.splitlines() if line)
  return tuple(Row(path, form, "") for form, *paths in lines for path in paths)


_BASIC = _table("""
conv       stage{s}_block{b}/reduce stage{s}_block{b}/conv1
conv       stage{s}_block{b}/conv2
batch_norm stage{s}_block{b}/norm1 stage{s}_block{b}/norm2 stage{s}_norm
""")

_PYRAMID = _table("""
dense     input scale{s}
norm      scale{s}_norm level{s}_norm{b} scale{s}_norm{b}
conv_bias level{s}_conv{b} scale{s}_conv{b}
""")


def _fusion(side: str) -> str:
  """Both forms of Eq. 1 that have parameters, one direction."""
  return f"""
dense {side}_attention/query {side}_attention/key {side}_attention/value
dense {side}_attention/out {side}_mlp/up {side}_mlp/down
norm  {side}_norm {side}_key_norm {side}_mlp_norm
dense {side}_value {side}_out
array {side}_scale
"""


_FUSION = _table(
  "dense region_query word_key" + _fusion("region") + _fusion("word")
)

_HEADS = _table("""
dense  detector/saliency detector/content
dense  image_projection text_projection matching
dense  query_projection evidence
dense  word_map/in word_map/up word_map/down word_map/out
norm   word_map/norm
kernel phrases/compose phrases/place_in
dense  phrases/place_out
array  locator/level_{s}/log_scale
norm   locator/region_norm locator/word_norm
norm   region_reading/norm word_reading/found/norm
dense  region_reading/out word_reading/found/out
norm   locator/level_{s}/reading/norm
dense  locator/level_{s}/reading/out
""")

_PARTS = {kind: table.rows for kind, table in names.KINDS.items()}

SLAN = Kind(
  rows=(
    *_rows("backbone", _PARTS["vit"] + _PARTS["resnet"] + _BASIC),
    *_rows("text", _PARTS["bert"]),
    *_rows("generator", _PARTS["bert_decoder"]),
    *_rows("language_head", _PARTS["language_head"]),
    *_rows("detector", _PARTS["detr"]),
    *_rows("pyramid", _PYRAMID),
    *_rows("locator/level_{s}/fusion", _FUSION),
    *_rows("", _HEADS),
    Row("objective/temperature", "array", "objective.temperature"),
    Row("objective/phrase_scale", "array", "objective.phrase_scale"),
    Row("localisation/temperature", "array", "localisation.temperature"),
    Row("localisation/nothing", "array", "localisation.nothing"),
  ),
  # `in` is no name in Python.
  dialects={"slan_torch": (("word_map.in.", "word_map.input."),)},
  prefixes=("module.", "_orig_mod."),  # of DataParallel and torch.compile
  ignored=(),
  ours_only=(),
  model_types=("slan",),
  required={},
)
