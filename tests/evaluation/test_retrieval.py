"""Driving a model over a gallery equals scoring every pair by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation import evaluator, partial, recall, retrieval

IMAGES, TOKENS, WIDTH = 7, 3, 4
# Two texts for most images, in mixed order, so that batches end unevenly.
TEXT_IMAGE = np.array([0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3])


def encode_image(params, images):
  flat = images.reshape(len(images), -1).astype(jnp.float32) / 255
  return {"vector": flat @ params["image"]}


def encode_text(params, tokens, mask):
  return {
    "word": jnp.where(mask, tokens, 0).astype(jnp.float32) @ params["text"]
  }


def itc(params, images, texts):
  return images["vector"] @ texts["word"].T


def phrase(params, images, texts):
  return -jnp.abs(images["vector"][:, None] - texts["word"][None]).sum(-1)


def itm(params, images, texts):
  return jnp.tanh(images["vector"] * texts["word"]).sum(-1)


PREDICT = {
  "encode_image": encode_image, "encode_text": encode_text, "itc": itc,
  "phrase": phrase, "itm": itm,
}  # fmt: skip


@pytest.fixture(scope="module")
def split():
  generator = np.random.default_rng(0)
  params = {
    "image": generator.normal(size=(12, WIDTH)).astype(np.float32),
    "text": generator.normal(size=(TOKENS, WIDTH)).astype(np.float32),
  }
  images = generator.integers(0, 256, (IMAGES, 2, 2, 3), np.uint8)
  tokens = generator.integers(1, 9, (len(TEXT_IMAGE), TOKENS)).astype(np.int32)
  mask = np.arange(TOKENS) < generator.integers(1, 4, (len(TEXT_IMAGE), 1))
  return params, images, retrieval.Texts(tokens, mask, TEXT_IMAGE)


def run(split, predict=PREDICT, **changes):
  settings = {
    "galleries": (99,), "texts_per_image": None, "top_k": 3,
    "first_stage": "itc+phrase", "score": "sum",
    "batching": evaluator.Batching(4, 5, progress=False),
  }  # fmt: skip
  params, images, texts = split
  return retrieval.evaluate_retrieval(
    predict, params, images, texts, **settings | changes
  )


def by_hand(split):
  """All pairs at once, with no batch and no cache."""
  params, images, (tokens, mask, _) = split
  v, t = encode_image(params, images), encode_text(params, tokens, mask)
  pairs = [
    itm(
      params,
      *({k: x[i : i + 1] for k, x in s.items()} for s, i in ((v, a), (t, b))),
    )
    for a in range(IMAGES)
    for b in range(len(tokens))
  ]
  first = [recall.standardize(f(params, v, t)) for f in (itc, phrase)]
  return sum(first), np.array(pairs).reshape(IMAGES, len(tokens))


def test_two_stages_equal_brute_force(split):
  report = run(split).report
  first, logit = by_hand(split)
  candidates = [recall.top_candidates(x, 3) for x in (first, first.T)]
  scored = candidates[0] | candidates[1].T
  total = recall.standardize(logit, scored) + recall.standardize(first)
  expected = recall.retrieval_metrics(
    recall.rerank(first, total, candidates[0]),
    recall.rerank(first.T, total.T, candidates[1]),
    TEXT_IMAGE,
  )
  for name, value in expected.items():
    assert report["metrics"][name] == pytest.approx(value), name
  assert report["samples"]["pairs_reranked"] == scored.sum()
  assert report["samples"]["images"] == IMAGES
  assert report["score"] == "sum" and "first 3 per query" in report["protocol"]


def test_batch_sizes_caching_and_meshes_change_nothing(split):
  expected = run(split).report
  auto = (jax.sharding.AxisType.Auto,)
  mesh = jax.make_mesh((8,), ("data",), axis_types=auto)
  spread = jax.NamedSharding(mesh, jax.P("data"))
  for batching in (
    evaluator.Batching(1, 1, progress=False),
    evaluator.Batching(100, 100, progress=False),
    evaluator.Batching(3, 7, cache_bytes=0, progress=False),
    evaluator.Batching(
      8, 16, put=lambda tree: jax.device_put(tree, spread), progress=False
    ),
  ):
    report = run(split, batching=batching).report
    assert report["metrics"] == pytest.approx(expected["metrics"])
    assert report["samples"] == expected["samples"]


@pytest.mark.parametrize(
  "room,blocks,encoded", [(0, [4, 4, 3], 6), (8, [8, 3], 6), (11, [11], 3)]
)
def test_texts_wait_in_blocks_within_the_budget(
  split, monkeypatch, room, blocks, encoded
):
  """Room for so many texts gives the scores of all at once."""
  expected, held = run(split), []
  scored = evaluator.score_pairs

  def watched(itm, params, chunks, texts, *rest):
    held.append(len(texts["word"]))
    return scored(itm, params, chunks, texts, *rest)

  monkeypatch.setattr(evaluator, "score_pairs", watched)
  predict = counted()
  batching = evaluator.Batching(
    4, 5, cache_bytes=room * WIDTH * 4, progress=False
  )
  found = run(split, predict, batching=batching)
  assert held == blocks and calls(predict)["encode_text"] == encoded
  assert found.report["metrics"] == pytest.approx(expected.report["metrics"])
  assert found.report["samples"] == expected.report["samples"]
  np.testing.assert_array_equal(found.text_to_image, expected.text_to_image)


def test_every_batch_has_one_shape(split):
  shapes = []

  def watched(params, images):
    shapes.append(images.shape)  # runs once per compiled shape
    return encode_image(params, images)

  run(split, PREDICT | {"encode_image": watched}, galleries=(5, 7))
  assert shapes == [(4, 2, 2, 3)]


def test_galleries_are_scored_apart_and_ranked_for_pictures(split):
  result = run(split, galleries=(3, 7), texts_per_image=1, score="stage1")
  metrics = result.report["metrics"]
  assert result.report["score"] == "itc+phrase"
  assert result.gallery.images == 3
  np.testing.assert_array_equal(result.gallery.texts, [0, 1, 2])
  assert result.text_to_image.shape == (3, 3)
  assert metrics["t2i_r5"] == 100  # k beyond the gallery of 3
  assert "gallery7_itm_i2t_r1" in metrics
  alone = run(split, galleries=(7,), texts_per_image=1, score="stage1").report
  for name, value in alone["metrics"].items():
    assert metrics[f"gallery7_{name}"] == pytest.approx(value), name


def test_models_without_phrase_or_matching(split):
  plain = {k: f for k, f in PREDICT.items() if k not in ("phrase", "itm")}
  report = run(split, plain, first_stage="itc", score="stage1").report
  assert report["samples"]["pairs_reranked"] == 0
  assert not any(name.startswith("itm_") for name in report["metrics"])


def test_a_diverged_model_is_named(split):
  def broken(params, images, texts):
    return itc(params, images, texts) * jnp.nan

  with pytest.raises(ValueError, match=r"itc scores.*diverged"):
    run(split, PREDICT | {"itc": broken})


class Counted:
  """A predict function that says how often it ran, and may be interrupted."""

  eager = True  # it runs as it is, not once per compiled shape

  def __init__(self, function, stop=None):
    self.function, self.stop, self.calls = function, stop, 0

  def __call__(self, *args):
    if self.calls == self.stop:
      raise KeyboardInterrupt
    self.calls += 1
    return self.function(*args)


def counted(**stops):
  return {
    name: Counted(function, stops.get(name))
    for name, function in PREDICT.items()
  }


def calls(predict):
  return {name: function.calls for name, function in predict.items()}


@pytest.mark.parametrize("room", [None, 64])
def test_an_interrupted_evaluation_goes_on(split, tmp_path, monkeypatch, room):
  monkeypatch.setattr(partial, "_PAUSE", 0)
  batching = evaluator.Batching(2, 3, progress=False)  # four chunks
  if room is not None:  # four texts at a time
    batching = batching._replace(cache_bytes=room)

  def scored(predict, key="k"):
    kept = partial.Partial(tmp_path / "partial", key, seconds=0)
    return run(split, predict, batching=batching, partial=kept)

  whole = counted()
  expected = run(split, whole, batching=batching)
  full = calls(whole)
  first = counted(phrase=7)  # within the second chunk of six calls
  with pytest.raises(KeyboardInterrupt):
    scored(first)
  second = counted(itm=full["itm"] - 1)  # within the last chunk
  with pytest.raises(KeyboardInterrupt):
    scored(second)
  assert calls(second)["phrase"] == full["phrase"] - 6
  third = counted()
  found = scored(third)
  assert calls(third) == {
    "encode_image": 1, "encode_text": full["encode_text"], "itc": 0,
    "phrase": 0, "itm": calls(third)["itm"],
  }  # fmt: skip
  assert 0 < calls(third)["itm"] < full["itm"] / 2
  assert found.report == expected.report
  np.testing.assert_array_equal(found.text_to_image, expected.text_to_image)
  other = counted()
  scored(other, key="another")
  assert calls(other) == full
