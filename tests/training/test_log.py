"""Averages, records that rewind, and what the terminal shows."""

import json

import jax
import pytest

from slan_jax.training.config import Mesh
from slan_jax.training.log import Averages, Log, rewind
from slan_jax.training.peak import known_peak, measured_peak, peak_flops
from slan_jax.training.progress import Clock, Display, describe, duration
from slan_jax.training.sharding import make_mesh


def test_averages_weigh_by_count_and_survive_a_restart():
  averages = Averages()
  averages.add({"a": (3.0, 1.0), "b": (0.0, 0.0)})
  averages = Averages(json.loads(json.dumps(averages.totals)))
  averages.add({"a": (3.0, 2.0), "b": (0.0, 0.0)})
  assert averages.take() == {"a": 2.0}
  assert averages.take() == {}


def test_rewind_drops_later_and_torn_lines(tmp_path):
  path = tmp_path / "metrics.jsonl"
  rewind(path, 3)
  assert not path.exists()
  path.write_text('{"step": 2}\n{"step": 4}\n{"step": 3, "x": 1}\n{"step": 1')
  rewind(path, 3)
  assert path.read_text() == '{"step": 2}\n{"step": 3, "x": 1}\n'


def test_resumed_log_has_each_step_once(tmp_path):
  for start in (0, 2):
    log = Log(tmp_path, start)
    for step in range(start + 1, 5):
      log.training(step, {"loss": float(start), "bad": float("nan")})
      log.evaluation(step, {"r_mean": 1.0})
    log.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  found = [(r["step"], r["loss"]) for r in map(json.loads, lines)]
  assert found == [(1, 0.0), (2, 0.0), (3, 2.0), (4, 2.0)]
  assert len((tmp_path / "evaluations.jsonl").read_text().splitlines()) == 4
  assert list((tmp_path / "tensorboard").iterdir())


def test_clock_by_hand():
  clock = Clock(lambda step: 10.0 * step, peak=100.0)
  clock.add_wait(9.0)  # for the first step, which is not counted
  assert clock.interval(8) == {}
  clock.add(1, 0.5, 0.1)
  clock.add(2, 1.0, 0.1)
  clock.add_wait(0.5)
  assert clock.interval(8) == pytest.approx(
    {
      "images_per_second": 8.0,
      "step_seconds": 1.0,
      "host_seconds": 0.1,
      "mfu": 30 / 2 / 100,
    }
  )
  clock.add(3, 4.0, 1.0)
  assert clock.interval(8)["images_per_second"] == 2.0
  assert (clock.steps, clock.seconds, clock.host_seconds) == (3, 6.0, 1.2)
  assert "mfu" not in Clock(None, 0.0).interval(8)
  clock.add_save(1.5)
  assert clock.describe(8) == (
    "4.0 images/s; host 20.00 % of the time; 1 saves took 1.50 s of 7.50 s "
    "(20.00 %)"
  )


def test_description_and_line_outside_a_terminal(capsys):
  values = {
    "loss": 1.23456,
    "images_per_second": 50.0,
    "step_seconds": 0.5,
    "mfu": 0.314,
  }
  expected = "loss 1.235  50.0 images/s  0.500 s/step  MFU 31.4 %  ETA 0:45"
  assert describe(10, 100, values) == expected
  assert describe(10, 100, {}) == ""
  display = Display(10, 100)
  display.advance()
  display.show(10, values)
  display.close()
  assert capsys.readouterr().out == f"step 10/100  {expected}\n"


@pytest.mark.parametrize(
  "seconds, text", [(6.6, "0:07"), (754, "12:34"), (3723, "1:02:03")]
)
def test_duration(seconds, text):
  assert duration(seconds) == text


def test_longest_known_start_of_a_device_kind_decides():
  assert known_peak("TPU v5 lite") == 197e12
  assert known_peak("TPU v5p") == 459e12
  assert known_peak("NVIDIA H100 80GB HBM3") == 989e12
  assert known_peak("NVIDIA L40S") == 362e12 > known_peak("NVIDIA L4")
  assert known_peak("cpu") is None


def test_peak_of_an_unknown_device_is_measured():
  mesh = make_mesh(Mesh(data=-1, fsdp=2, gather="step", cpu_devices=8))
  with jax.set_mesh(mesh):
    assert 1e8 < measured_peak(mesh, size=128) < 1e14
    assert 1e8 < peak_flops(mesh) < 1e14
