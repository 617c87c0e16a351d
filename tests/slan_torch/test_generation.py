"""Captions: greedy and beams, against every continuation tried in turn."""

import itertools

import pytest
import torch

from tests.slan_torch import pair

MARKS = ("pad", "unk", "cls", "mask", "sep")
WORDS = (5, 6, 7, 8)


@pytest.fixture(scope="module")
def model():
  cfg = pair.config("scenes", model__text__vocab_size=9)
  made = pair.torch_model(cfg, pair.params(cfg, seed=3))
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
  found = model.caption(images, prompt=prompt, longest=4, shortest=4)
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
