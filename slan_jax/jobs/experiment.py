"""One run as frozen dataclasses, and the parts that are built from them."""

import dataclasses

from slan_jax.input.config import EvaluationConfig, InputConfig
from slan_jax.input.text import TextEncoder, load_encoder
from slan_jax.jobs.limits import check_values
from slan_jax.jobs.typed import ConfigError
from slan_jax.models import config as models
from slan_jax.tasks import config as tasks
from slan_jax.tasks.config import Batch, Marks, Objective
from slan_jax.training import config as training


@dataclasses.dataclass(frozen=True)
class InitFrom:
  """Run or files of published weights that a new run starts from; "" = none."""

  run: str
  checkpoint: str
  text: str
  language_head: str
  backbone: str
  detector: str
  resize_positions: bool
  ignore: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Data:
  """Where examples come from and how they are augmented."""

  dir: str
  mixture: tuple[tuple[str, str, float], ...]
  train_split: str
  evaluation_split: str
  crop_scale: tuple[float, float]
  reduced_decode: bool
  flip: bool
  randaugment: tuple[int, int]
  caption: str
  threads: int
  prefetch: int


@dataclasses.dataclass(frozen=True)
class Text:
  """How captions become tokens."""

  tokenizer: str
  max_length: int
  hard_negatives: int
  word_classes: str


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What is scored, during training and after."""

  every_steps: int
  records: int
  batch_size: int
  pair_batch_size: int
  cache_bytes: int
  galleries: tuple[int, ...]
  texts_per_image: int
  top_k: int
  first_stage: str
  score: str
  use_ema: bool


@dataclasses.dataclass(frozen=True)
class Experiment:
  """All of `configs/base.py`, typed."""

  task: str
  seed: int
  total_steps: int
  batch_size: int
  microbatches: int
  compilation_cache: str
  init_from: InitFrom
  data: Data
  text: Text
  model: models.Slan
  objective: Objective
  localisation: tasks.Localisation
  detection: tasks.Detection
  grounding: tasks.Grounding
  video: tasks.Video
  optimizer: training.Optimizer
  mesh: training.Mesh
  checkpoint: training.Checkpoint
  log: training.Log
  evaluation: Evaluation
  captioning: tasks.Captioning
  vqa: tasks.Vqa

  def __post_init__(self):
    check_values(self)


def read_tokenizer(experiment: Experiment) -> tuple[Experiment, TextEncoder]:
  """Puts in what only the tokenizer knows: vocabulary and function words.

  Returns:
    The experiment with `model.text` complete, and the tokenizer.

  Raises:
    ConfigError: `model.text.vocab_size` is too small for the tokenizer.
    InputError: the tokenizer cannot be loaded.
  """
  encoder = load_encoder(
    experiment.text.tokenizer, experiment.text.max_length, experiment.data.dir
  )
  text = experiment.model.text
  size = encoder.vocab_size if text.vocab_size == -1 else text.vocab_size
  if size < encoder.vocab_size:
    raise ConfigError(
      f"model.text.vocab_size is {size}; the tokenizer has "
      f"{encoder.vocab_size} words (-1 takes that number)"
    )
  words = text.function_ids or tuple(encoder.function_ids)
  text = dataclasses.replace(text, vocab_size=size, function_ids=words)
  model = dataclasses.replace(experiment.model, text=text)
  return dataclasses.replace(experiment, model=model), encoder


def batch_shape(experiment: Experiment, encoder: TextEncoder) -> Batch:
  """Shape of a global batch, as the tasks take it."""
  return Batch(
    size=experiment.batch_size,
    max_length=experiment.text.max_length,
    hard_negatives=experiment.text.hard_negatives,
    mask_id=encoder.mask_id,
    microbatches=experiment.microbatches,
  )


def marks_of(encoder: TextEncoder) -> Marks:
  """Ids of the special tokens, as the tasks that write take them."""
  return Marks(
    pad=encoder.pad_id,
    unk=encoder.unk_id,
    cls=encoder.cls_id,
    sep=encoder.sep_id,
    mask=encoder.mask_id,
  )


def caption_prompt(
  task: str, options: tasks.Captioning, encoder: TextEncoder
) -> tuple[int, ...]:
  """Token ids that captions begin with, without [CLS] and [SEP].

  Only what was fine-tuned on captions learned to write behind the prompt.

  Args:
    task: of the run.
    options: its section `captioning`.
    encoder: its tokenizer.
  """
  if task != "captioning":
    return ()
  ids, mask, _ = encoder([options.prompt])
  return tuple(ids[mask][1:-1].tolist())


def without_remat(experiment: Experiment) -> Experiment:
  """The same model with nothing recomputed, for counting its FLOPs."""
  model = dataclasses.replace(experiment.model, remat="none")
  return dataclasses.replace(experiment, model=model)


def input_config(experiment: Experiment, rows: tuple[int, ...]) -> InputConfig:
  """What the training loader of this process needs, which prepares `rows`."""
  data, text = experiment.data, experiment.text
  return InputConfig(
    split=data.train_split,
    tokenizer=text.tokenizer,
    word_classes=text.word_classes,
    image_size=experiment.model.image_size,
    max_length=text.max_length,
    batch_size=experiment.batch_size,
    seed=experiment.seed,
    crop_scale=data.crop_scale,
    reduced_decode=data.reduced_decode,
    flip=data.flip,
    randaugment=data.randaugment,
    caption=data.caption,
    hard_negatives=text.hard_negatives,
    threads=data.threads,
    prefetch=data.prefetch,
    rows=rows,
    mixture=data.mixture,
  )


def evaluation_config(experiment: Experiment) -> EvaluationConfig:
  """What the evaluation splits need."""
  return EvaluationConfig(
    tokenizer=experiment.text.tokenizer,
    image_size=experiment.model.image_size,
    max_length=experiment.text.max_length,
  )
