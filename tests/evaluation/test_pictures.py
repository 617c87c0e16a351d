"""Pictures are written, show something, and take what a run leaves behind."""

import json

import cv2
import numpy as np
import pytest

from slan_jax.evaluation import (
  canvas,
  curves,
  gallery,
  history,
  pictures,
  region_pictures,
  report,
  retrieval_pictures,
  snapshot,
)
from tests.evaluation.test_snapshot import arrays


def examples():
  generator = np.random.default_rng(0)
  images = generator.integers(0, 256, (6, 16, 16, 3), np.uint8)
  rows = np.arange(6)
  scores = np.eye(6)[[0, 1, 2, 3, 5, 4]]  # texts 4 and 5 find each other's
  chosen = retrieval_pictures.retrieval_examples(
    gallery.Gallery(6, rows, rows), scores, images,
    [f"caption {row}" for row in rows], queries=3,
  )  # fmt: skip
  return images, chosen


def test_examples_show_a_miss_and_the_right_image():
  images, chosen = examples()
  assert list(chosen["query"]) == ["caption 0", "caption 2", "caption 5"]
  assert list(chosen["rank"]) == [1, 1, 6]
  assert chosen["image"].shape == (3, 5, 16, 16, 3)
  np.testing.assert_array_equal(chosen["image"][1, 0], images[2])
  assert chosen["right"][:2, 0].all() and not chosen["right"][2].any()


@pytest.fixture
def workdir(tmp_path):
  training = [
    {"step": step, "loss": 9.0 / (step + 1), "itc": 1.0, "area": 0.1}
    for step in range(0, 40, 2)
  ]
  scores = [{"step": step, "i2t_r1": 2.0 * step} for step in (0, 20, 40)]
  for name, records in (
    (history.TRAINING, training), (history.EVALUATIONS, scores),
  ):  # fmt: skip
    lines = [json.dumps(record) + "\n" for record in records]
    (tmp_path / name).write_text("".join(lines))
  for step in (0, 20, 40):
    snapshot.save_snapshot(tmp_path, arrays(step))
  retrieval_pictures.save_examples(tmp_path / pictures.EXAMPLES, examples()[1])
  report.write_report(
    tmp_path / "eval" / "retrieval" / "metrics.json",
    {
      "task": "retrieval", "protocol": "first <200>", "score": "sum",
      "checkpoint_step": 40, "config_hash": "", "samples": {},
      "metrics": {"i2t_r1": 80.0}, "chance": {"i2t_r1": 0.5}, "untrained": {},
    },
  )  # fmt: skip
  return tmp_path


def test_report_draws_everything_a_run_left(workdir):
  drawn = pictures.draw_report(workdir)
  assert set(drawn) == {*pictures.CAPTIONS, "index"}
  page = drawn.pop("index").read_text()
  assert "<td>80.0</td><td>-</td><td>0.5</td>" in page
  assert "first &lt;200&gt;" in page
  for name, path in drawn.items():
    image = cv2.imread(str(path))
    assert min(image.shape[:2]) > 200, name
    assert (image < 128).mean() > 0.005 and image.std() > 10, name
    assert f'src="{path.name}"' in page


def test_report_draws_what_there_is(workdir):
  (workdir / pictures.EXAMPLES).unlink()
  (workdir / history.TRAINING).unlink()
  last = arrays(40) | {
    "proposals": np.zeros((2, 0, 4)), "proposal_score": np.zeros((2, 0)),
  }  # fmt: skip
  snapshot.save_snapshot(workdir, last)
  drawn = pictures.draw_report(workdir)
  assert set(drawn) == {"curves", "training", "levels", "index"}
  with pytest.raises(ValueError, match="no proposals"):
    region_pictures.draw_filter(last, workdir / "filter.png")


def test_nothing_to_draw_is_said(tmp_path):
  with pytest.raises(ValueError, match="nothing to draw"):
    pictures.draw_report(tmp_path)
  with pytest.raises(ValueError, match="no record"):
    curves.draw_curves([{"step": 0, "loss": float("nan")}], [], tmp_path / "a")
  path = tmp_path / "examples.npz"
  path.write_bytes(b"PK")
  with pytest.raises(ValueError, match=r"examples\.npz: damaged"):
    retrieval_pictures.load_examples(path)


def test_boxes_and_captions_take_the_colour_of_their_phrase(tmp_path):
  made = canvas.figure(4, 4)
  axes = made.add_axes((0, 0, 1, 1))
  canvas.show(axes, np.full((8, 8, 3), 255, np.uint8))
  canvas.draw_box(axes, [0.25, 0.25, 0.75, 0.75], "#FF0000", width=4)
  canvas.save(made, tmp_path / "box.png")
  image = cv2.imread(str(tmp_path / "box.png"))[..., ::-1].astype(int)
  red = (image[..., 0] > 200) & (image[..., 1:].max(-1) < 60)
  rows, columns = np.nonzero(red)
  side = len(image)
  found = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
  np.testing.assert_allclose(found / side, [0.25, 0.25, 0.75, 0.75], atol=0.02)


def test_equal_phrases_take_their_own_words():
  spans = canvas.phrase_spans(
    "A red circle and a red circle", ["a red circle", "a red circle", "dog"]
  )
  assert spans == [(0, 12), (17, 29), (0, 0)]


def test_enlarged_keeps_large_images_and_shapes():
  small = np.zeros((32, 64, 3), np.uint8)
  assert canvas.enlarged(small).shape == (128, 256, 3)
  large = np.zeros((300, 300, 3), np.uint8)
  assert canvas.enlarged(large) is large


def test_spread_keeps_first_and_last():
  assert region_pictures.spread(10, 4) == [0, 3, 6, 9]
  assert region_pictures.spread(2, 6) == [0, 1]


def test_smooth_by_hand():
  np.testing.assert_allclose(
    curves.smooth(np.array([0.0, 3.0, 6.0, 0.0]), 1), [0, 3, 3, 0]
  )


def test_phrases_that_share_a_region_are_both_seen(tmp_path):
  shared = arrays() | {"image": np.full((2, 16, 16, 3), 255, np.uint8)}
  scores = np.zeros((2, 2, 3, 4))
  scores[0, :, :, 1] = 1  # the same region; in image 1 no phrase prefers any
  shared["phrase_scores"] = scores
  path = region_pictures.draw_levels(shared, tmp_path / "levels.png")
  image = cv2.imread(str(path))[..., ::-1].astype(int)
  top, bottom = np.array_split(image, 2)
  for colour, half, seen in (
    (canvas.PHRASE_COLOURS[0], top, True),
    (canvas.PHRASE_COLOURS[1], top, True),
    (canvas.PHRASE_COLOURS[1], bottom, False),
  ):
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    # The captions have colour as well: count whole lines only.
    near = np.abs(half - wanted).max(-1) < 8
    assert (near.sum(axis=0).max() > 40) == seen, colour
