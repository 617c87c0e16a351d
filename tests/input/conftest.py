"""One directory of scenes for all tests of the input wing."""

import pytest

from data import prepare


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
  out = tmp_path_factory.mktemp("prepared") / "scenes"
  sizes = ["--train-size", "40", "--val-size", "4", "--test-size", "30"]
  assert (
    prepare.main(["scenes", "--out", str(out), "--workers", "1", *sizes]) == 0
  )
  return out
