"""Captions: greedy and beams, against every continuation tried in turn."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from slan_jax.models.slan import Slan
from slan_jax.tasks import captioning, config, vqa
from tests.slan_torch import pair

MARKS = ("pad", "unk", "cls", "mask", "sep")
WORDS = (5, 6, 7, 8)


# More phrases than the prompts have tokens.
CFG = pair.config(
  "scenes", model__text__vocab_size=9, model__word_map__phrases=6
)


@pytest.fixture(scope="module")
def model():
  made = pair.torch_model(CFG, pair.params(CFG, seed=0))
  made.config.token_ids = type("Marks", (), pair.TOKENS)
  return made


@pytest.fixture(scope="module")
def images(model):
  return torch.from_numpy(pair.inputs(model.cfg)[0])


@torch.no_grad()
def log_probabilities(model, images, prompt, rows):
  """Of the tokens of `rows`, one row for each image, by the training pass."""
  marks = pair.TOKENS
  start = torch.tensor([[marks["cls"], *prompt]]).expand(len(images), -1)
  image = model.encode_image(images)
  text = torch.cat([start, torch.full((len(images), 1), marks["sep"])], 1)
  state = model.encode_text(text, torch.ones_like(text))
  located = model.locate(image, state)
  states = model.caption_states(image, located.regions)
  ids = torch.cat([start, rows], 1)
  logits = model.generate(ids, torch.ones_like(ids), *states)
  logits[..., [marks[name] for name in MARKS]] = -torch.inf
  logits = logits[:, len(prompt) : -1].log_softmax(-1)
  return logits.gather(-1, rows[..., None])[..., 0]


def test_greedy_takes_the_likeliest_token_each_time(model, images):
  prompt = [5, 6]
  found = model.caption(images, prompt=prompt, beams=1, longest=4, shortest=4)
  assert found.shape == (3, 4)
  for place in range(4):
    scores = []
    for token in WORDS:
      rows = found[:, : place + 1].clone()
      rows[:, place] = token
      scores.append(log_probabilities(model, images, prompt, rows)[:, place])
    best = torch.stack(scores, 1).argmax(1)
    assert [WORDS[i] for i in best] == found[:, place].tolist()


def test_wide_beams_find_the_best_caption_of_all(model, images):
  """Every caption of three words from a small vocabulary, scored in turn."""
  found = model.caption(images[:1], beams=64, longest=3, shortest=3)
  captions = torch.tensor(list(itertools.product(WORDS, repeat=3)))
  copies = images[:1].expand(len(captions), -1, -1, -1)
  scores = log_probabilities(model, copies, [], captions).sum(1)
  assert found[0].tolist() == captions[scores.argmax()].tolist()


def test_a_caption_ends_where_the_decoder_says(model, images):
  """What follows [SEP] is padding, and [SEP] itself is not shown."""
  bias = model.language_head.bias
  with torch.no_grad():
    bias[pair.TOKENS["sep"]] += 50
    found = model.caption(images, beams=2, longest=6, shortest=2)
    bias[pair.TOKENS["sep"]] -= 50
  assert found.shape == (3, 3)
  assert (found[:, :2] > 4).all() and not found[:, 2].any()


def test_images_do_not_disturb_each_other(model, images):
  together = model.caption(images, beams=3, longest=5)
  alone = model.caption(images[1:2], beams=3, longest=5)
  length = alone.shape[1]
  assert together[1, :length].tolist() == alone[0].tolist()
  assert not together[1, length:].any()


def test_jax_writes_the_same_captions_and_answers(images):
  """By the recipe of the export, token for token; one program for both."""
  write = config.Writing("beam", 3, 0.9, 3, 6, 1.3)
  prompt, marks = (5, 6), config.Marks(**pair.TOKENS)
  tree, slan = pair.params(CFG, seed=0), Slan(CFG)
  tree["slan"]["language_head"]["bias"][marks.sep] += 10  # texts end early
  caption = captioning.predictions(
    slan, config.Captioning("", 0.0, write), marks, prompt
  )["caption"]
  options = config.Vqa(1, 6, 0.0, "generate", 1, 1, write)
  asked = vqa.predictions(slan, options, marks)
  _, ids, mask = pair.inputs(CFG)
  rows = jnp.arange(len(ids))

  @jax.jit
  def run(params, pixels):
    state = asked["encode_image"](params, pixels)
    return (
      caption(params, pixels, rows).tokens,
      asked["answer"](params, state, ids, mask, rows).tokens,
    )

  ours = run(tree, images.numpy())
  recipe = dataclasses.asdict(write)
  writing = {"captioning": recipe, "vqa": recipe, "prompt": list(prompt)}
  model = pair.torch_model(CFG, tree, writing=writing)
  text = torch.tensor(ids), torch.tensor(mask)
  found = model.caption(images), model.answer(images, *text)
  assert len(found[0].unique(dim=0)) > 1  # the images do tell
  # Each part of the recipe counts.
  for other in ({"repetition_penalty": 1.0}, {"shortest": 0}, {"beams": 1}):
    changed = (
      model.caption(images, **other),
      model.answer(images, *text, **other),
    )
    assert any(a.tolist() != b.tolist() for a, b in zip(found, changed)), other
  for mine, theirs in zip(ours, found):
    assert np.asarray(mine)[:, : theirs.shape[1]].tolist() == theirs.tolist()
    assert not np.asarray(mine)[:, theirs.shape[1] :].any() and theirs.any()


def test_a_nucleus_is_drawn_from(model, images):
  """Nearly all of the probability on one word: a small nucleus is greedy."""
  options = {"shortest": 4, "longest": 4}
  likely = model.caption(images, beams=1, **options)
  drawn = model.caption(images, search="nucleus", top_p=1e-6, **options)
  assert drawn.tolist() == likely.tolist()
  torch.manual_seed(0)
  free = model.caption(images, search="nucleus", top_p=1.0, **options)
  assert free.shape == (3, 4) and (free > 4).all()
  assert free.tolist() != likely.tolist()


@pytest.mark.parametrize(
  "given",
  [
    {"beam": 2},
    {"search": "greedy"},
    {"beams": 0},
    {"shortest": 5, "longest": 4},
    {"top_p": 0.5},  # of a nucleus, and this is a search by beams
    {"beams": 2, "search": "nucleus"},
    {"top_p": 0.0, "search": "nucleus"},
    {"repetition_penalty": 0.0},
  ],
)
def test_recipes_that_cannot_be(model, images, given):
  with pytest.raises(ValueError, match=next(iter(given))):
    model.caption(images, **given)
