"""Every source that is timed is whole: all of its pictures are written."""

import pytest

from benchmarks import preparing
from tests.data.coco_source import encoded


@pytest.mark.parametrize("name", preparing.WRITERS)
def test_what_is_timed_is_written(name, tmp_path, monkeypatch):
  monkeypatch.setitem(preparing.VIDEO, "frames", 10)
  photographs = [encoded(120, 110, seed) for seed in range(2)]
  found = preparing.measure(name, photographs, tmp_path, count=16, repeats=1)
  assert found["pictures"] == 16
  assert 0 < found["slowest"] <= found["fastest"]
  assert list(tmp_path.iterdir()) == []
