"""Downstream tasks: `configs/finetune.py:TASK[,NAME][,preset=PRESET]`.

TASK is a row of TASKS. NAME and PRESET choose the model, and what else is not
of the task, as in configs/pretrain.py; `scenes` unless told. What the run
starts from is told on the command line, `--config.init_from.run=DIR`; without,
it starts at random.
"""

import ml_collections

from configs import base, pretrain

Values = dict[str, object]

# BLIP's recipes (docs/METHOD.md); the paper gives none for its own. Steps are
# epochs of the public training sets: retrieval 6 of COCO's 566,747 captions.
RETRIEVAL: Values = {
  "batch_size": 256,
  "total_steps": 13_300,
  "text.max_length": 35,
  "model.image_size": 384,
  "data.crop_scale": (0.5, 1.0),
  "objective.image_targets": True,
  "objective.soft_targets": 0.4,
  "objective.mlm": 0.0,
  "objective.lm": 0.0,
  "objective.unimodal_fraction": 0.0,
  "optimizer.learning_rate": 1e-5,
  "optimizer.warmup_steps": 0,
  "optimizer.decay": "cosine",
  "evaluation.every_steps": 2_217,
  "evaluation.top_k": 256,
}

# BLIP's, 15 epochs of NLVR2's 86,373 statements.
NLVR2: Values = {
  "batch_size": 256,
  "total_steps": 5_060,
  "text.max_length": 35,
  "model.image_size": 384,
  "data.crop_scale": (0.5, 1.0),
  "optimizer.learning_rate": 3e-5,
  "optimizer.warmup_steps": 0,
  "optimizer.decay": "cosine",
  "evaluation.every_steps": 337,
}

# GLIP's for COCO, 24 epochs of its 118,287 images at batch 32; losses, warm-up
# of 1 % and clipping as MDETR. Boxes must stay where they are: no RandAugment.
DETECTION: Values = {
  "batch_size": 32,
  "total_steps": 88_716,
  "model.image_size": 384,
  "data.crop_scale": (0.5, 1.0),
  "data.randaugment": (0, 0),
  "optimizer.learning_rate": 1e-4,
  "optimizer.warmup_steps": 887,
  "optimizer.decay": "cosine",
  "optimizer.weight_decay": 1e-4,
  "optimizer.clip_norm": 0.1,
  "evaluation.every_steps": 3_697,
}

# The same on Flickr30k Entities, 5 epochs of 148,915 captions, as MDETR.
GROUNDING: Values = DETECTION | {
  "total_steps": 23_268,
  "text.max_length": 35,
  "optimizer.warmup_steps": 233,
  "evaluation.every_steps": 4_654,
}

# Neither queues nor an EMA copy: there is no contrast.
_WRITING: Values = {
  "text.hard_negatives": 0,
  "data.crop_scale": (0.5, 1.0),
  "objective.mlm": 0.0,
  "objective.momentum": False,
  "objective.queue_size": 0,
  "objective.swapped_words": False,
  "optimizer.ema_decay": 0.0,
  "optimizer.warmup_steps": 0,
  "optimizer.decay": "cosine",
}
# 5 epochs of COCO's captions.
CAPTIONING: Values = _WRITING | {
  "batch_size": 256,
  "total_steps": 11_070,
  "text.max_length": 40,
  "model.image_size": 384,
  "optimizer.learning_rate": 1e-5,
  "evaluation.every_steps": 2_214,
}
# 10 epochs of the 658,111 questions of VQA v2's train and val; 15 of train's.
VQA: Values = _WRITING | {
  "batch_size": 256,
  "total_steps": 25_700,
  "text.max_length": 35,
  "model.image_size": 480,
  "optimizer.learning_rate": 2e-5,
  "evaluation.every_steps": 2_570,
}

TASKS: dict[str, Values] = {
  "retrieval": RETRIEVAL,
  "nlvr2": NLVR2,
  "detection": DETECTION,
  "grounding": GROUNDING,
  "captioning": CAPTIONING,
  "vqa": VQA,
}

# What the small models do instead: minutes on two CPU cores.
SMALL: Values = {
  "total_steps": 200,
  "optimizer.learning_rate": 5e-4,
  "optimizer.warmup_steps": 20,
  "optimizer.decay": "cosine",
  "evaluation.every_steps": 100,
  "evaluation.records": 200,
  "checkpoint.every_steps": 100,
}
# A decoder learns to write at a rate that ruins what a small model sees, so
# what sees stays as it is. Without pre-training, give ().
_SMALL_WRITING: Values = _WRITING | {
  "data.crop_scale": (1.0, 1.0),
  "optimizer.frozen": ("^slan/(backbone|pyramid|detector|word_map|phrases)/",),
  "optimizer.learning_rate": 1.5e-3,
  "optimizer.warmup_steps": 50,
}
SMALL_TASKS: dict[str, Values] = {
  "retrieval": {
    "objective.image_targets": True,
    "objective.mlm": 0.0,
    "objective.lm": 0.0,
    "objective.unimodal_fraction": 0.0,
  },
  "nlvr2": {},
  "detection": {"data.crop_scale": (0.8, 1.0), "detection.boxes": 6},
  "grounding": {
    "data.crop_scale": (0.8, 1.0),
    "grounding.phrases": 8,
    "grounding.boxes": 1,
  },
  "captioning": _SMALL_WRITING
  | {
    "total_steps": 400,
    "text.max_length": 36,  # a scene's caption behind the prompt
    "captioning.write.longest": 32,
  },
  "vqa": _SMALL_WRITING
  | {
    "total_steps": 800,
    "data.dir": "runs/data/scenes_vqa",
    "vqa.answers": 3,
    "vqa.answer_length": 8,  # "yes" is three letters of the captions' words
    "vqa.write.longest": 6,
  },
}


def get_config(argument: str = "retrieval") -> ml_collections.ConfigDict:
  """The locked configuration of a task and its options.

  Args:
    argument: "TASK", with ",NAME" and options of configs/pretrain.py behind it.

  Returns:
    A locked ConfigDict: an unknown key raises.

  Raises:
    ValueError: unknown task, name, option or preset.
  """
  task, *rest = argument.split(",")
  if task not in TASKS:
    raise ValueError(
      f"configs/finetune.py:{argument}: unknown task {task!r}; choose one of "
      f"{', '.join(TASKS)}"
    )
  name = rest.pop(0) if rest and "=" not in rest[0] else "scenes"
  config = pretrain.get_config(",".join([name, *rest])).unlock()
  small = name in pretrain.SMALL
  base.override(config, SMALL | SMALL_TASKS[task] if small else TASKS[task])
  config.task = task
  if name == "vit_h":  # whole patches of 14 pixels
    config.model.image_size -= config.model.image_size % 14
  return config.lock()
