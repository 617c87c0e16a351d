"""Galleries, candidates and the scores over them."""

import numpy as np
import pytest

from slan_jax.evaluation import gallery, recall

TEXT_IMAGE = np.array([0, 0, 1, 2, 2, 2])


def test_first_images_with_their_first_texts():
  found = gallery.select_gallery(TEXT_IMAGE, 2, 1)
  assert found.images == 2
  np.testing.assert_array_equal(found.texts, [0, 2])
  np.testing.assert_array_equal(found.text_image, [0, 1])
  whole = gallery.select_gallery(TEXT_IMAGE, 99, None)
  assert whole.images == 3 and len(whole.texts) == 6


def test_sizes_beyond_the_split_become_the_split_once():
  found = gallery.select_galleries(TEXT_IMAGE, (2, 200, 1000), 1)
  assert [x.images for x in found] == [2, 3]


def test_bad_galleries_are_named():
  with pytest.raises(ValueError, match="empty gallery"):
    gallery.select_gallery(np.array([], int), 5, None)
  with pytest.raises(ValueError, match="empty gallery: 0 images"):
    gallery.select_gallery(TEXT_IMAGE, 0, None)
  with pytest.raises(ValueError, match="at least one size"):
    gallery.select_galleries(TEXT_IMAGE, (), None)


def two_stages(seed=0, top_k=2):
  generator = np.random.default_rng(seed)
  scores = {name: generator.normal(size=(3, 6)) for name in ("itc", "phrase")}
  itm = generator.normal(size=(3, 6))
  whole = gallery.select_gallery(TEXT_IMAGE, 3, None)
  stage = gallery.first_stage(whole, scores, "itc+phrase", top_k)
  return whole, scores, itm, stage


def test_first_stage_adds_z_scores():
  _, scores, _, stage = two_stages()
  expected = sum(
    (matrix - matrix.mean()) / matrix.std() for matrix in scores.values()
  )
  np.testing.assert_allclose(stage.first, expected)
  assert (stage.candidates["i2t"].sum(axis=1) == 2).all()
  assert stage.candidates["t2i"].shape == (6, 3)


def test_wanted_pairs_cover_every_direction_and_gallery():
  whole, scores, _, stage = two_stages()
  small = gallery.select_gallery(TEXT_IMAGE, 2, 1)
  other = gallery.first_stage(small, scores, "itc", 1)
  wanted = gallery.wanted_pairs([whole, small], [stage, other])
  assert wanted[stage.candidates["i2t"]].all()
  assert wanted.T[stage.candidates["t2i"]].all()
  assert wanted[:2, small.texts][other.candidates["i2t"]].all()
  assert not gallery.wanted_pairs([whole], [stage]).all()


def test_reranking_the_whole_gallery_is_ranking_by_the_second_stage():
  whole, _, itm, stage = two_stages(top_k=6)
  scores = gallery.final_scores(whole, stage, itm)
  reranked = recall.retrieval_metrics(*scores["itm"], TEXT_IMAGE)
  assert reranked == recall.retrieval_metrics(itm, itm.T, TEXT_IMAGE)
  total = recall.standardize(itm) + recall.standardize(stage.first)
  added = recall.retrieval_metrics(*scores["sum"], TEXT_IMAGE)
  assert added == recall.retrieval_metrics(total, total.T, TEXT_IMAGE)


def test_report_names_every_score_and_the_declared_one():
  whole, _, itm, stage = two_stages()
  scores = gallery.final_scores(whole, stage, itm)
  metrics, chance = gallery.gallery_report(whole, scores, "sum")
  for prefix in ("itc_", "phrase_", "itc_phrase_", "itm_", "sum_"):
    assert f"{prefix}i2t_r1" in metrics
  assert metrics["t2i_r1"] == metrics["sum_t2i_r1"]
  assert set(chance) == {
    "i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "r_mean",
    "mdr", "i2t_mdr",
  }  # fmt: skip
  assert chance["t2i_r1"] == pytest.approx(100 / 3)


def test_scores_that_a_model_lacks_are_named():
  whole, scores, _, stage = two_stages()
  with pytest.raises(ValueError, match="first_stage: 'itc\\+phrase'"):
    gallery.first_stage(whole, {"itc": scores["itc"]}, "itc+phrase", 2)
  with pytest.raises(ValueError, match="score: 'sum'"):
    gallery.gallery_report(
      whole, gallery.final_scores(whole, stage, None), "sum"
    )
  with pytest.raises(ValueError, match="itc scores: 1 of"):
    gallery.first_stage(
      whole,
      {"itc": np.where(np.arange(18).reshape(3, 6) == 4, np.nan, 0.0)},
      "itc",
      2,
    )


@pytest.mark.parametrize(
  "sizes,each,top_k,told",
  [
    ((3,), None, 2, "the first 2 per query re-ranked by"),
    ((3,), 1, 128, "the first 3 per query re-ranked by"),
    ((3,), None, 4, "the first 4 texts per image and 3 images per text re-"),
    ((3, 2), 1, 128, "the first 3 per query and the first 2 per query re-"),
    ((3, 2), 1, 2, "stage: the first 2 per query re-ranked by"),
  ],
)
@pytest.mark.parametrize("score", ["itm", "sum"])
def test_the_protocol_names_no_more_than_there_are(
  sizes, each, top_k, told, score
):
  chosen = gallery.select_galleries(TEXT_IMAGE, sizes, each)
  assert told in gallery.protocol(chosen, "itc", score, top_k)
  alone = gallery.protocol(chosen, "itc", "itc", top_k)
  assert "per query" not in alone and "ranked by itc" in alone
