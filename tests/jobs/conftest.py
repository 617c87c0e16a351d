"""A directory of scenes, and jobs that train the light task on it."""

import pytest

from data import prepare
from slan_jax.jobs import catalog, evaluate, train
from tests.jobs.light import light_task


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
  """A small prepared directory."""
  out = tmp_path_factory.mktemp("prepared") / "scenes"
  sizes = ["--train-size", "40", "--val-size", "6", "--test-size", "8"]
  assert (
    prepare.main(["scenes", "--out", str(out), "--workers", "1", *sizes]) == 0
  )
  return out


@pytest.fixture(autouse=True)
def light(monkeypatch):
  """Every job of these tests works on the light task."""
  for job in (train, evaluate):
    monkeypatch.setattr(job, "make_task", light_task)
  for task in catalog.SCORED:
    entry = catalog.CATALOG[task]._replace(make=light_task)
    monkeypatch.setitem(catalog.CATALOG, task, entry)
