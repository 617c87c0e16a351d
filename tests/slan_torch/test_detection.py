"""Detection by prompt: the same boxes and scores as in JAX."""

import jax
import numpy as np
import pytest
import torch

from data.vocabulary import words_tokenizer
from slan_jax.input.errors import InputError
from slan_jax.input.prompt import Style, make_prompts
from slan_jax.input.text import TextEncoder
from slan_jax.tasks import detection
from slan_jax.tasks.config import Localisation
from slan_torch.config import DETECTION
from slan_torch.detection import Prompts, suppress
from slan_torch.processing import Processor
from tests.slan_torch import pair

WORDS = ("detect", ":", ",", "red", "circle", "blue", "square", "star", "of")
LABELS = ("red circle", "star", "blue_square", "circle of star")
OPTIONS = Localisation(
  top=0, threshold=0.0, temperature=0.1, nothing=0.3, fit=True,
  cost_tokens=1.0, cost_l1=1.0, cost_giou=1.0, tokens=1.0, l1=1.0, giou=1.0,
  nothing_weight=0.1, auxiliary=1.0,
)  # fmt: skip


def processor(max_length=14, **changes):
  options = type("O", (), DETECTION | {"max_length": max_length} | changes)
  return Processor(words_tokenizer(WORDS), 32, 8, options)


def ours(labels, max_length=14, classes=0):
  encoder = TextEncoder(words_tokenizer(WORDS), max_length)
  return make_prompts(labels, encoder, Style("detect: ", ", ", classes))


@pytest.mark.parametrize(
  ("length", "classes"), [(14, 0), (14, 1), (9, 0), (32, 3)]
)
def test_prompts_are_those_of_jax(length, classes):
  mine = ours(LABELS, length, classes)
  theirs = processor(length, prompt_classes=classes).prompts(LABELS)
  for name in ("ids", "mask", "class_tokens", "classes"):
    np.testing.assert_array_equal(
      getattr(mine, name), getattr(theirs, name).numpy(), name
    )


@pytest.mark.parametrize(
  ("labels", "length"),
  [((), 14), (("red", " "), 14), (("Star", "star"), 14), (("red circle",), 6)],
)
def test_labels_that_make_no_prompt(labels, length):
  with pytest.raises(InputError):
    ours(labels, length)
  with pytest.raises(ValueError, match="labels"):
    processor(length).prompts(labels)


def test_boxes_and_scores_agree():
  """Without a word map; tests/jobs/test_predict.py compares it with one."""
  prompts = ours(LABELS, 9)
  size = words_tokenizer(WORDS).get_vocab_size()
  cfg = pair.config(
    "scenes,preset=paper",
    model__text__vocab_size=size,
    model__text__max_positions=16,
    model__text__function_ids=(0, 1, 2, 3, 4),
    model__adaptor__levels=1,
  )
  tree = pair.params(cfg)
  asked = detection.Prompts(*prompts[2:])
  task = detection.make_task(
    cfg, OPTIONS, asked, batch_size=3, microbatches=1, boxes=1, nms=0.5
  )
  images = pair.inputs(cfg)[0]

  @jax.jit
  def run(params, images):
    states = task.predict["encode_image"](params, images)
    return [
      task.predict["detect"](
        params,
        states,
        task.predict["encode_text"](params, *(x[None] for x in (ids, mask))),
        tokens,
      )
      for ids, mask, tokens in zip(*prompts[2:5])
    ]

  found = run(tree, images)
  model = pair.torch_model(cfg, tree)
  with torch.no_grad():
    theirs = model.detect(
      torch.tensor(images), Prompts(LABELS, *map(torch.tensor, prompts[2:]))
    )
  assert len(found) > 1  # several prompts
  boxes, scores = (
    np.concatenate([part[name] for part in found], 1)
    for name in ("boxes", "scores")
  )
  absent = np.repeat(prompts.classes, len(boxes[0]) // len(found), axis=0) < 0
  scores = np.where(absent[None], -1, scores)
  np.testing.assert_allclose(theirs["boxes"], boxes, atol=1e-4)
  np.testing.assert_allclose(theirs["scores"], scores, atol=1e-4)
  assert (scores == -1).any() and np.ptp(scores[scores >= 0]) > 1e-3


def test_suppression_by_hand():
  boxes = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0.9], [0.5, 0, 1, 0.4]])
  scores = torch.tensor([[0.5, 0.5], [0.9, 0.4], [0.2, 0.9]])
  kept = suppress(boxes[None], scores[None], 0.5)[0]
  assert kept.tolist() == [[False, True], [True, False], [True, True]]
