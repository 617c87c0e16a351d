"""Searches for single pictures and clips, by hand."""

import numpy as np
import pytest

from slan_jax.evaluation.gallery import Gallery
from slan_jax.evaluation.retrieval_cases import search_case, searches

GALLERY = Gallery(3, np.array([0, 1, 2, 3]), np.array([0, 0, 1, 2]))
SCORES = np.array(
  [[3.0, 1.0, 2.0], [9.0, 9.0, 9.0], [5.0, 4.0, 6.0], [1.0, 1.0, 1.0]]
)
TEXTS = ["one", "one too", "two", "three"]


def test_the_first_text_of_each_picture_is_searched_for():
  found = searches(GALLERY, SCORES)
  assert found.texts.tolist() == [0, 2, 3]
  assert found.ranks.tolist() == [0, 2, 2]  # ties count against the model
  images = np.arange(3)[:, None, None, None] * np.ones((1, 4, 4, 3))
  case = search_case(found, 1, images.astype(np.uint8), TEXTS)
  assert case.text == "two" and case.score == pytest.approx(1 / 3)
  assert case.images[:, 0, 0, 0].tolist() == [1, 2, 0]  # the right one first
  assert case.lines == ["the right picture, shown first, ranks 3 of 3"]
  assert case.labels == ["the right picture"]


def test_clips_are_shown_by_frames_from_all_over():
  clips = np.arange(3)[:, None] * 20 + np.arange(9)[None]
  clips = clips[..., None, None, None] * np.ones((1, 1, 4, 4, 3))
  found = searches(GALLERY, SCORES)
  case = search_case(found, 0, clips.astype(np.uint8), TEXTS)
  shown = case.images[:, 0, 0, 0].tolist()
  assert shown == [0, 3, 5, 8, 40, 43, 45, 48]  # and of the best other clip
