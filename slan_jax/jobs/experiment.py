"""One run as frozen dataclasses, and the parts that are built from them."""

import dataclasses

from slan_jax.input.config import EvaluationConfig, InputConfig
from slan_jax.input.text import TextEncoder, load_encoder
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
    for name, value, least in (
      ("seed", self.seed, 0),
      ("total_steps", self.total_steps, 1),
      ("batch_size", self.batch_size, 1),
      ("microbatches", self.microbatches, 1),
      ("optimizer.max_skipped", self.optimizer.max_skipped, 1),
      ("optimizer.max_rollbacks", self.optimizer.max_rollbacks, 0),
      ("checkpoint.every_steps", self.checkpoint.every_steps, 1),
      ("checkpoint.keep", self.checkpoint.keep, 1),
      ("log.every_steps", self.log.every_steps, 1),
      ("evaluation.every_steps", self.evaluation.every_steps, 0),
      ("evaluation.records", self.evaluation.records, 0),
      ("evaluation.batch_size", self.evaluation.batch_size, 1),
      ("evaluation.pair_batch_size", self.evaluation.pair_batch_size, 1),
      ("evaluation.cache_bytes", self.evaluation.cache_bytes, 0),
      ("evaluation.texts_per_image", self.evaluation.texts_per_image, 0),
      ("evaluation.top_k", self.evaluation.top_k, 1),
      ("localisation.top", self.localisation.top, 0),
      ("detection.prompt_classes", self.detection.prompt_classes, 0),
      ("detection.boxes", self.detection.boxes, 1),
      ("detection.most", self.detection.most, 1),
      ("grounding.phrases", self.grounding.phrases, 1),
      ("grounding.boxes", self.grounding.boxes, 1),
      ("video.frames", self.video.frames, 1),
    ):
      if value < least:
        raise ConfigError(f"{name} is {value}; expected at least {least}")
    for place in (self.data.dir, *(place for _, place, _ in self.data.mixture)):
      if "://" in place:
        raise ConfigError(
          f"data directory {place}: records are read from directories of this "
          "machine; mount the bucket, or copy it, as launch/tpu_pod.sh does"
        )
    ema = self.optimizer.ema_decay
    if not 0.0 <= ema < 1.0:
      raise ConfigError(f"optimizer.ema_decay is {ema}; expected 0 <= d < 1")
    for name, wanted in (
      ("objective.momentum", self.objective.momentum),
      ("evaluation.use_ema", self.evaluation.use_ema),
    ):
      if wanted and not ema:
        raise ConfigError(f"{name} needs an EMA copy: optimizer.ema_decay > 0")
    scored = {"itc", "itc+phrase"} if self.model.word_map.enabled else {"itc"}
    for name, value, choices in (
      ("evaluation.first_stage", self.evaluation.first_stage, scored),
      ("evaluation.score", self.evaluation.score, {"itm", "sum", "stage1"}),
      ("video.choice", self.video.choice, {"uniform", "random"}),
      (
        "model.adaptor.words",
        self.model.adaptor.words,
        {"tokens", "all", "phrases"},
      ),
      (
        "model.heads.matching_regions",
        self.model.heads.matching_regions,
        {"adapted", "filtered"},
      ),
      ("objective.reg_regions", self.objective.reg_regions, {"kept", "slots"}),
    ):
      if value not in choices:
        raise ConfigError(
          f"{name} is {value!r}; this model offers {', '.join(sorted(choices))}"
        )
    if not self.evaluation.galleries or min(self.evaluation.galleries) < 1:
      raise ConfigError("evaluation.galleries: expected numbers of images")


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
