"""Pre-training: `configs/pretrain.py:NAME[,preset=PRESET][,mixture=ROOT]`.

NAME is a backbone at the paper's size (resnet50, vit_b, vit_l, vit_h), `tiny`
(small photographs on a CPU), `scenes` (the embedded data of `make pretrain`)
or `scenes_hard` (more, overlapping objects at 128 pixels). PRESET is `paper`,
the method read literally, or `grounded`, with the additions of docs/METHOD.md
that make it locate. Full-size names default to `paper`, small ones to
`grounded`. ROOT holds prepared directories named as in TABLE_8: training mixes
them by the paper's numbers, and the first one gives tokenizer, word classes and
evaluation.
"""

import ml_collections

from configs import base

# What slan-plan found best for the paper's models on slices of TPUs, see
# docs/SCALING.md: the state split over half of the devices, since XLA scatters
# no sum over a whole slice, products kept and the rest recomputed, no image
# sent between devices.
SLICES = {
  "mesh.data": 2,
  "mesh.fsdp": -1,
  "model.remat": "dots",
  "objective.hard_images": False,
}

# Batch and steps: the paper's batch (4.1), 20 epochs of 14.07 M images. The
# pyramid starts at V's stride, or at half of it for ResNet's stride of 32.
FULL = {
  "resnet50": {"batch_size": 1280, "total_steps": 220_000,
               "model.pyramid.scales": (2, 4, 8)},
  "vit_b": {"batch_size": 960, "total_steps": 293_000},
  "vit_l": {"batch_size": 640, "total_steps": 440_000},
  "vit_h": {"batch_size": 640, "total_steps": 440_000},
}  # fmt: skip

# Images of the paper's five sources in thousands (Table 8). As weights they
# visit every image equally often; its numbers of texts (567, 769, 860, 3,000
# and 10,000) would visit the several captions of COCO and Visual Genome apart.
# "Conceptual [6]" of 10 M can only be CC12M.
TABLE_8 = {
  "coco_captions": 113.0,
  "visual_genome": 100.0,
  "sbu": 860.0,
  "cc3m": 3000.0,
  "cc12m": 10000.0,
}

# The additions to the paper, each one a switch.
GROUNDED = {
  "text.hard_negatives": 3,
  "model.detector.reference": "grid",
  "model.filter.saliency_gradient": False,
  "model.filter.add_query": True,
  "model.filter.add_position": True,
  "model.adaptor.grid": 9,
  "model.adaptor.windows": (0.5, 0.4, 1.6),
  "model.adaptor.window_units": ("image", "image", "box"),
  "model.adaptor.window_bounds": (0.25, 0.7),
  "model.adaptor.words": "phrases",
  "model.adaptor.similarity": "extent",
  "model.adaptor.size": "soft_extent",
  "model.adaptor.min_size": 0.02,
  "model.adaptor.differentiable_boxes": False,
  "model.adaptor.fusion": "residual",
  "model.adaptor.refine": "add",
  "model.adaptor.assignment": "mutual",
  "model.word_map.enabled": True,
  "model.word_map.place_bound": 0.3,
  "model.word_map.affinity": "features",
  "model.word_map.affinity_window": 7,
  "model.word_map.affinity_distance": 3.0,
  "model.word_map.competition": 3.0,
  "model.word_map.peak_sharpness": 15.0,
  "model.word_map.read_sharpness": 10.0,
  "model.heads.evidence": True,
  "objective.lm": 1.0,
  "objective.phrase": 1.0,
  "objective.saliency": 1.0,
  "objective.unimodal_fraction": 0.4,
  "objective.reg": 2.0,
  "objective.reg_confirmed": True,
  "objective.reg_max_shift": 0.2,
  "objective.swapped_words": True,
  "evaluation.first_stage": "itc+phrase",
}

# A model that two CPU cores train in minutes.
TINY = {
  "model.width": 64,
  "model.compute_dtype": "float32",
  "model.backbone.name": "resnet_tiny",
  "model.text.layers": 2,
  "model.text.heads": 4,
  "model.text.mlp_width": 256,
  "model.text.max_positions": 64,
  "model.generator.layers": 1,
  "model.generator.heads": 4,
  "model.generator.mlp_width": 256,
  "model.pyramid.scales": (1, 2, 2),
  "model.pyramid.convs": 1,
  "model.detector.encoder_layers": 1,
  "model.detector.decoder_layers": 2,
  "model.detector.width": 64,
  "model.detector.heads": 4,
  "model.detector.mlp_width": 128,
  "model.detector.queries": 16,
  "model.adaptor.heads": 4,
  "model.adaptor.roi_size": 3,
  "model.word_map.width": 64,
  "model.word_map.stride": 4,
  "model.heads.embed_dim": 64,
  "objective.queue_size": 0,
  "objective.momentum": False,
  "optimizer.b2": 0.98,
  "optimizer.warmup_steps": 100,
  "optimizer.ema_decay": 0.0,
  "optimizer.weight_decay": 0.01,
  "optimizer.learning_rate": 1.5e-3,
  "mesh.cpu_devices": 2,
  "data.threads": 2,
  "evaluation.top_k": 16,
  "log.every_steps": 20,
}

# What only the small grounded model needs.
TINY_GROUNDED = {
  "model.pyramid.source": "fpn",
  "model.pyramid.convs": 0,
  "model.filter.top": 16,
  "model.word_map.phrases": 6,
}

SCENES = {
  "batch_size": 32,
  "total_steps": 900,
  "text.max_length": 32,
  "model.image_size": 64,
  "data.dir": "runs/data/scenes",
  "data.crop_scale": (1.0, 1.0),
  "data.randaugment": (0, 0),
  "evaluation.galleries": (200, 1000),
  "evaluation.texts_per_image": 1,  # the one that describes every object
  "evaluation.every_steps": 300,
  "checkpoint.every_steps": 300,
}

SCENES_HARD = SCENES | {
  "total_steps": 2400,  # an hour of one core, or half of that of two
  "text.max_length": 40,  # 38 words and marks at most
  "model.image_size": 128,
  "model.backbone.name": "resnet_tiny8",
  "model.word_map.stride": 8,
  "model.word_map.phrases": 8,  # six objects, an opening ("we see"), one spare
  "data.dir": "runs/data/scenes_hard",
  "evaluation.every_steps": 600,
  "checkpoint.every_steps": 600,
}

PHOTOGRAPHS = {
  "batch_size": 32,
  "total_steps": 600,
  "model.image_size": 128,
  "model.backbone.name": "resnet_tiny8",
  "model.word_map.stride": 8,
  "data.evaluation_split": "train",
  "data.crop_scale": (0.8, 1.0),
  "data.randaugment": (0, 0),
  "evaluation.galleries": (1000,),
  "evaluation.every_steps": 200,
  "checkpoint.every_steps": 200,
}

SMALL = {"scenes": SCENES, "scenes_hard": SCENES_HARD, "tiny": PHOTOGRAPHS}


def get_config(argument: str = "scenes") -> ml_collections.ConfigDict:
  """The locked configuration of a name and its options.

  Args:
    argument: "NAME", with ",preset=PRESET" or ",mixture=ROOT" behind it.

  Returns:
    A locked ConfigDict: an unknown key raises.

  Raises:
    ValueError: unknown name, option or preset.
  """
  name, *options = argument.split(",")
  if name not in FULL and name not in SMALL:
    raise ValueError(
      f"configs/pretrain.py:{argument}: unknown name {name!r}; choose one of "
      f"{', '.join([*FULL, *SMALL])}"
    )
  preset, root = "grounded" if name in SMALL else "paper", ""
  for option in options:
    key, _, value = option.partition("=")
    if key == "preset" and value in ("paper", "grounded"):
      preset = value
    elif key == "mixture" and value:
      root = value.rstrip("/")
    else:
      raise ValueError(
        f"configs/pretrain.py:{argument}: cannot read {option!r}; expected "
        "preset=paper, preset=grounded or mixture=ROOT"
      )
  config = base.get_config()
  if name in FULL:
    row = SLICES | FULL[name] | {"model.backbone.name": name}
    # However large a batch is, negatives come from as many rows as here.
    row["objective.negative_pool"] = row["batch_size"]
    base.override(config, row)
  else:
    base.override(config, TINY)
  if preset == "grounded":
    base.override(config, GROUNDED)
    if name in SMALL:
      base.override(config, TINY_GROUNDED)
  if name in SMALL:  # last: data may need more slots than the small model has
    base.override(config, SMALL[name])
  if root:
    config.data.dir = f"{root}/coco_captions"
    config.data.mixture = tuple(
      (source, f"{root}/{source}", weight) for source, weight in TABLE_8.items()
    )
  return config.lock()
