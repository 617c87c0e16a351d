import cv2
import numpy as np
import pytest

from data import clip
from data.clip import Clip, choose, read_frames
from data.errors import Unusable

UNIFORM = Clip(4, "uniform", 0)


def write_video(path, frames, size=(64, 48)):
  """Frame n is of grey level 10 n."""
  codec = cv2.VideoWriter_fourcc(*"mp4v")
  video = cv2.VideoWriter(str(path), codec, 25, size)
  assert video.isOpened()
  for number in range(frames):
    video.write(np.full((size[1], size[0], 3), 10 * number, np.uint8))
  video.release()
  return str(path)


def levels(frames):
  return [
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).mean()
    for data, _ in frames
  ]


def test_uniform_frames_begin_equal_parts():
  assert choose(8, UNIFORM, "a") == [0, 2, 4, 6]
  assert choose(10, UNIFORM, "a") == [0, 2, 5, 7]
  assert choose(2, UNIFORM, "a") == [0, 0, 1, 1]


def test_random_frames_depend_on_seed_and_name_alone():
  taken = Clip(4, "random", 0)
  first = choose(100, taken, "a.mp4")
  assert first == choose(100, taken, "a.mp4") == sorted(set(first))
  assert first != choose(100, taken, "b.mp4")
  assert first != choose(100, taken._replace(seed=1), "a.mp4")
  assert choose(2, taken, "a") == [0, 0, 1, 1]


def test_frames_are_those_of_the_video(tmp_path):
  path = write_video(tmp_path / "a.mp4", 20)
  frames = read_frames(path, UNIFORM)
  assert {size for _, size in frames} == {(64, 48)}
  np.testing.assert_allclose(levels(frames), [0, 50, 100, 150], atol=4)


def test_a_short_video_repeats_frames(tmp_path):
  frames = read_frames(write_video(tmp_path / "a.mp4", 2), UNIFORM)
  np.testing.assert_allclose(levels(frames), [0, 0, 10, 10], atol=4)


def test_a_video_that_ends_early_is_read_as_far_as_it_goes(
  tmp_path, monkeypatch
):
  path = write_video(tmp_path / "a.mp4", 8)
  asked = []

  def overstated(total, *rest):
    asked.append(total)
    return choose(12 if total == 8 else total, *rest)

  monkeypatch.setattr(clip, "choose", overstated)
  frames = read_frames(path, UNIFORM)
  assert asked == [8, 7]
  np.testing.assert_allclose(levels(frames), [0, 10, 30, 50], atol=4)


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_what_is_no_video_is_unusable(tmp_path, content):
  path = tmp_path / "a.mp4"
  path.write_bytes(content)
  with pytest.raises(Unusable, match="video corrupt"):
    read_frames(str(path), UNIFORM)
