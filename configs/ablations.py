"""Tables of variants: `configs/ablations.py:TABLE-ROW[,steps=N]`.

A row is a preset of `configs/pretrain.py:scenes` with a few values changed, and
says in words what it tests. `slan-ablate` trains whole tables; a single row
trains like any other configuration. `steps` shortens (or lengthens) the run:
warm-up and intervals keep their share of it. Rows that start from a detector
need `,detector=PATH` as well.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import ml_collections

from configs import pretrain


class Row(NamedTuple):
  """One variant.

  Attributes:
    tests: what it tells, in words.
    values: key -> value, on top of the table's preset. A switch that needs
      another brings it along.
    detector: keys that take the path of a detector, which the user has to give.
  """

  tests: str
  values: Mapping[str, Any] = MappingProxyType({})
  detector: tuple[str, ...] = ()


class Table(NamedTuple):
  """Variants to be compared.

  Attributes:
    title: heading.
    preset: of `configs/pretrain.py:scenes`.
    rows: name -> row, the reference first where there is one.
  """

  title: str
  preset: str
  rows: dict[str, Row]


def _adaptors(levels: int) -> dict:
  """Algorithm 1 with fewer turns, and no map that nobody reads."""
  values = {
    "model.adaptor.levels": levels,
    "model.pyramid.scales": (1, 2, 2)[: max(levels, 1)],
  }
  # Without a level L_reg compares G_0 with itself.
  return values if levels else values | {"objective.reg": 0.0}


DETECTOR = "init_from.detector"
FROZEN = {"optimizer.frozen": ("^slan/detector/",)}
NO_FILTER = {"model.filter.top": 16, "model.filter.threshold": 0.0}
QUEUE = {"objective.queue_size": 1024}
# ALBEF's decay of .995 looks back 200 steps, all of a short run.
EMA = {"objective.momentum": True, "optimizer.ema_decay": 0.98}

TABLES = {
  "5": Table(
    "Table 5: trainable detector and number of adaptors",
    "paper",
    {
      "frozen": Row(
        "detector as initialised (the paper's has COCO's weights), no adaptor",
        _adaptors(0) | FROZEN,
      ),
      "adaptors0": Row("learned detector, no adaptor", _adaptors(0)),
      "adaptors1": Row("one adaptor", _adaptors(1)),
      "adaptors2": Row("two adaptors", _adaptors(2)),
      "adaptors3": Row("three adaptors: the method"),
    },
  ),
  "6": Table(
    "Table 6: region filter",
    "paper",
    {
      "off": Row("every proposal stays", NO_FILTER),
      "top10": Row("the first 10 stay", {"model.filter.threshold": 0.0}),
      "top10_30": Row(
        "of these, those above .3", {"model.filter.threshold": 0.3}
      ),
      "top10_50": Row("of these, those above .5: the method"),
    },
  ),
  # Nobody publishes a detector of the scenes. PATH is one that was trained
  # before: DETR's state dict for a model of its size, or an export of a run.
  "9": Table(
    "Table 9: detection weights or scratch",
    "paper",
    {
      "scratch": Row("all at random: the method"),
      "detector": Row("starts from the given detector", detector=(DETECTOR,)),
      "detector_backbone": Row(
        "and from the vision encoder that it was trained with",
        detector=(DETECTOR, "init_from.backbone"),
      ),
      "frozen": Row(
        "the given detector stays as it is, no adaptor (Table 5, line 1)",
        _adaptors(0) | FROZEN,
        detector=(DETECTOR,),
      ),
    },
  ),
  "10": Table(
    "Table 10: source of the multi-scale maps",
    "paper",
    {
      "encoder": Row(
        "the backbone's own maps", {"model.pyramid.source": "encoder"}
      ),
      "decoder": Row("a decoder behind V: the method"),
    },
  ),
  "silences": Table(
    "Where the paper is silent: other readings",
    "paper",
    {
      "paper": Row("the preset; in-batch keys only, no EMA copy"),
      "swapped_axes": Row(
        "Eq. 2 to the letter: dx from the row, dy from the column",
        {"model.adaptor.swap_axes": True},
      ),
      "residual": Row(
        "Eq. 1 with projections, residual and feed-forward",
        {"model.adaptor.fusion": "residual"},
      ),
      "constant_boxes": Row(
        "RoIAlign passes no gradient to boxes",
        {"model.adaptor.differentiable_boxes": False},
      ),
      "free_target": Row(
        "the gradient of L_reg reaches its target",
        {"objective.reg_stop_gradient": False},
      ),
      "raw_similarity": Row(
        "s_j is the bare cosine", {"model.adaptor.similarity": "raw"}
      ),
      "box_windows": Row(
        "r_i relative to the region, not to the image",
        {"model.adaptor.window_units": ("box", "box", "box")},
      ),
      "queue": Row("1,024 keys of earlier batches, no EMA copy", QUEUE),
      "queue_ema": Row("the same from an EMA copy", QUEUE | EMA),
    },
  ),
  "locator": Table(
    "What we added, each switched off alone",
    "grounded",
    {
      "whole": Row("the preset grounded"),
      "no_swapped_words": Row(
        "no captions with one word swapped, in no loss",
        {"text.hard_negatives": 0, "objective.swapped_words": False},
      ),
      "no_affinity": Row(
        "similarity is not spread to places that are alike",
        {"model.word_map.affinity": "none"},
      ),
      "no_competition": Row(
        "phrases do not compete for places", {"model.word_map.competition": 0.0}
      ),
      "no_peak": Row(
        "a box fits by outline alone, not by the share of the peak",
        {"model.word_map.peak_sharpness": 0.0},
      ),
      "no_reading": Row(
        "neither words nor regions read the map",
        {"model.word_map.read_sharpness": 0.0},
      ),
      "no_captions": Row(
        "the text decoder does not learn captions", {"objective.lm": 0.0}
      ),
      "no_places": Row(
        "words around a phrase say nothing of its place",
        {"model.word_map.place_bound": 0.0},
      ),
      "learned_scale": Row(
        "p_w, p_h per level in place of the soft extent; boxes pass gradients, "
        "else these would learn nothing",
        {
          "model.adaptor.size": "scale",
          "model.adaptor.differentiable_boxes": True,
        },
      ),
      "best_phrase": Row(
        "each region follows its best phrase, without mutual assignment",
        {"model.adaptor.assignment": "best"},
      ),
      "all_move": Row(
        "regions without a phrase move too",
        {"model.adaptor.move_threshold": 0.0},
      ),
      "no_evidence": Row(
        "ITM does not see how well phrases are found",
        {"model.heads.evidence": False},
      ),
      "saliency_gradient": Row(
        "the weight of a region passes its gradient to the saliency",
        {"model.filter.saliency_gradient": True},
      ),
      "no_saliency_loss": Row(
        "saliency does not follow phrases, the weight's gradient trains it",
        {"objective.saliency": 0.0, "model.filter.saliency_gradient": True},
      ),
      "reg_everywhere": Row(
        "L_reg also where no phrase confirms the region",
        {"objective.reg_confirmed": False},
      ),
      "no_phrase_contrast": Row(
        "no phrase-map contrast; first stage by ITC, as the map is not trained",
        {"objective.phrase": 0.0, "evaluation.first_stage": "itc"},
      ),
      "no_unimodal": Row(
        "all losses from the first step on",
        {"objective.unimodal_fraction": 0.0},
      ),
      "learned_queries": Row(
        "DETR's learned queries in place of grid references",
        {"model.detector.reference": "learned"},
      ),
      "literal_fusion": Row(
        "Eq. 1 without projections, residual and feed-forward",
        {"model.adaptor.fusion": "literal"},
      ),
      "levels0": Row("no adaptor", _adaptors(0)),
      "levels1": Row("one level", _adaptors(1)),
      "levels2": Row("two levels", _adaptors(2)),
    },
  ),
}

# Counts of steps that keep their share of a run of another length.
SCALED = (
  "optimizer.warmup_steps",
  "evaluation.every_steps",
  "checkpoint.every_steps",
  "log.every_steps",
)


def get_config(argument: str) -> ml_collections.ConfigDict:
  """The locked configuration of a row.

  Args:
    argument: "TABLE-ROW", with ",steps=N" and, where the row takes a detector,
      ",detector=PATH" behind it.

  Returns:
    A locked ConfigDict.

  Raises:
    ValueError: unknown row or option, or no detector where one is needed.
  """
  where = f"configs/ablations.py:{argument}"
  name, *options = argument.split(",")
  table, _, row = name.partition("-")
  if table not in TABLES or row not in TABLES[table].rows:
    rows = [f"{t}-{r}" for t, each in TABLES.items() for r in each.rows]
    raise ValueError(f"{where}: no such row; choose one of {', '.join(rows)}")
  chosen = TABLES[table].rows[row]
  given = dict(option.partition("=")[::2] for option in options)
  known = {"steps": "steps=N"}
  if chosen.detector:
    known["detector"] = "detector=PATH"
  for key, value in given.items():
    if key not in known or not value:
      expected = " or ".join(known.values())
      raise ValueError(f"{where}: cannot read {key!r}; expected {expected}")
  if chosen.detector and "detector" not in given:
    raise ValueError(
      f"{where}: needs ,detector=PATH (--detector PATH of slan-ablate): a "
      "state dict of DETR, or an export of a run of this project"
    )
  config = pretrain.get_config(f"scenes,preset={TABLES[table].preset}").unlock()
  values = dict(chosen.values) | dict.fromkeys(
    chosen.detector, given.get("detector")
  )
  with config.ignore_type():
    config.update_from_flattened_dict(values)
  if "steps" in given:
    _shorten(config, given["steps"], where)
  return config.lock()


def _shorten(config: ml_collections.ConfigDict, text: str, where: str) -> None:
  """Another number of steps, and every interval its share of it."""
  if not text.isdigit() or not int(text):
    raise ValueError(f"{where}: steps={text} is no number of steps")
  share = int(text) / config.total_steps
  config.total_steps = int(text)
  config.update_from_flattened_dict(
    {key: max(1, round(share * _read(config, key))) for key in SCALED}
  )


def _read(config: ml_collections.ConfigDict, key: str) -> int:
  value = config
  for part in key.split("."):
    value = value[part]
  return value
