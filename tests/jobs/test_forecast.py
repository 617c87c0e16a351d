"""What a plan says of a program: bytes, costs, times, and what is too large."""

import threading
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from configs import pretrain
from slan_jax.jobs import forecast, slice_plan, suggestion, topology
from slan_jax.jobs.common import experiment_of
from slan_jax.jobs.programs import Work
from slan_jax.training import config, sharding
from slan_jax.training.chips import Chip

CHIP = Chip(flops=1e9, memory=10**9, bandwidth=1e8, link=1e6, wrap=4)


def work(mesh) -> Work:
  """x @ w, rows over four devices, w split over them."""
  rows, split = (
    sharding.batch_sharding(mesh),
    jax.NamedSharding(mesh, jax.P(None, ("data", "fsdp"))),
  )
  x = jax.ShapeDtypeStruct((8, 64), jnp.float32, sharding=rows)
  w = jax.ShapeDtypeStruct((64, 128), jnp.float32, sharding=split)
  program = jax.jit(lambda x, w: x @ w, out_shardings=rows)
  inputs = {"parameters": w, "batch": x}
  return Work("train", lambda: program.lower(x, w), 2 * 8 * 64 * 128, 8, inputs)


class Line(topology.Topology):
  """Four CPU devices in a row, with an imagined chip."""

  def rate(self, group, order):
    assert group == (0, 1, 2, 3)
    return self.chip.link


@pytest.fixture(scope="module")
def found():
  sizes = config.Mesh(data=4, fsdp=1, gather="step", cpu_devices=8)
  mesh = sharding.make_mesh(sizes, jax.devices()[:4])
  line = Line("line", jax.devices()[:4], CHIP)
  return forecast.forecast(work(mesh), line, mesh)


def test_bytes_and_costs(found):
  assert found["fits"]
  assert found["hbm_bytes_by_kind"]["parameters"] == 64 * 128 * 4 / 4
  assert found["hbm_bytes_by_kind"]["batch"] == 8 * 64 * 4 / 4
  assert found["hbm_bytes_per_chip"] == sum(found["hbm_bytes_by_kind"].values())
  assert found["model_flops_per_step"] == found["hardware_flops_per_step"]
  # w is gathered, or the sums are scattered: three quarters pass by.
  (size,) = found["collective_bytes_by_kind"].values()
  assert size == 64 * 128 * 4 * 3 / 4


def test_times(found):
  assert found["compute_seconds"] == pytest.approx(2 * 2 * 64 * 128 / 1e9)
  assert found["interconnect_seconds"] == pytest.approx(64 * 128 * 3 / 1e6)
  step = found["step_seconds"]
  assert step == max(found["interconnect_seconds"], found["operation_seconds"])
  assert found["images_per_second"] == 8 / step
  assert found["mfu_bound"] == pytest.approx(found["compute_seconds"] / step)
  seconds = 20 * 14.07e6 / found["images_per_second"]
  assert found["chip_hours"] == pytest.approx(4 * seconds / 3600)


def test_largest_buffers(found):
  first = found["largest_buffers"][0]
  assert first["bytes"] == 64 * 128 * 4
  assert sorted(first) == ["bytes", "shape", "source"]


def test_a_program_that_does_not_fit_is_read_from_the_dump():
  """XLA refuses it; what it made so far is read all the same."""
  sizes = config.Mesh(data=1, fsdp=1, gather="step", cpu_devices=8)
  mesh = sharding.make_mesh(sizes, jax.devices()[:1])
  lowered = work(mesh).lower()

  def refuse(compiler_options):
    lowered.compile(compiler_options)
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too much\nmore")

  built = forecast.build(compiled_by(refuse, lowered, mesh))
  assert built.complaint == "RESOURCE_EXHAUSTED: too much"
  assert "ENTRY" in built.text


def compiled_by(function, lowered, mesh) -> Work:
  stub = types.SimpleNamespace(
    compile=function, compiler_ir=lowered.compiler_ir
  )
  return work(mesh)._replace(lower=lambda: stub)


def test_a_program_is_read_before_there_is_machine_code(monkeypatch):
  """As soon as memory is assigned; where too much is, XLA has to say so."""
  sizes = config.Mesh(data=1, fsdp=1, gather="step", cpu_devices=8)
  mesh = sharding.make_mesh(sizes, jax.devices()[:1])
  lowered, over = work(mesh).lower(), threading.Event()
  monkeypatch.setattr(forecast, "_PATIENCE", 0.01)
  held = (64 * 128 + 8 * 64) * 4

  report = f"Memory Space: default\nTotal bytes: {held + 99} (1.0KiB)\n"

  def assign(compiler_options):
    name = f"{compiler_options['xla_dump_to']}/module_0001.jit__lambda.x."
    Path(f"{name}after_optimizations.txt").write_text("HloModule early")
    Path(f"{name}memory-usage-report.txt").write_text(report)
    Path(f"{name}{forecast._ASSIGNED}").write_text("HloModule early")
    over.wait(30)
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too much")

  early = compiled_by(assign, lowered, mesh)
  room = -(-(held + 99) * 5 // 4)  # a fifth is left for what machine code adds
  built = forecast.build(early, limit=room)
  assert built[:2] == ("HloModule early", 99) and not built.complaint
  assert not over.is_set()
  threading.Timer(0.2, over.set).start()
  built = forecast.build(early, limit=room - 2)
  assert over.is_set() and built.complaint and built.temporary == 99
  report = "another libtpu writes it otherwise"
  with pytest.raises(jax.errors.JaxRuntimeError, match="too much"):
    forecast.build(early, limit=room)


def test_programs_of_a_tpu_are_compiled_apart_one_by_one(monkeypatch):
  """And training is left out where its state alone is too large."""
  experiment = experiment_of(pretrain.get_config("scenes"))
  small, large = jax.ShapeDtypeStruct((2,), "int8"), CHIP.memory + 1
  single = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  state = {"batch": small.update(sharding=single)}
  works = [Work(name, None, 0.0, 1, state) for name in ("encode", "ground")]
  calls = []

  def call(function, *arguments):
    calls.append(arguments[1:])
    return function(*arguments)

  slice_ = topology.Topology("v5e:1x1", jax.devices()[:1], CHIP)
  for name, value in (
    ("call_apart", call),
    ("find_topology", {"v5e:1x1": slice_}.get),
    ("complete", lambda experiment: (experiment, None)),
    ("make_mesh", lambda *_: jax.make_mesh((1,), ("data",))),
    ("evaluation_works", lambda *_: works),
    ("training_work", lambda *_: works[0]),
    ("forecast", lambda work, *_, machine_code: (work.name, machine_code)),
    ("bytes_per_device", lambda _: large),
  ):
    monkeypatch.setattr(slice_plan, name, value)
  found = slice_plan._forecasts(slice_, True, experiment, "grounding")
  assert found == [("encode", True), ("ground", True)]
  assert [arguments[0] for arguments in calls] == ["v5e:1x1"] * 2
  assert slice_plan._forecasts(slice_, False, experiment) == [("encode", False)]
  assert slice_plan._forecasts(slice_, False, experiment, roomy=True) == []


@pytest.mark.filterwarnings("ignore:the load_module")
def test_the_ladder_stops_where_it_fits():
  tried, said = [], []

  def plan(candidate):
    tried.append((candidate.mesh.fsdp, candidate.model.remat))
    if candidate.mesh.fsdp == 1:
      return None
    return {
      "fits": candidate.model.remat != "none",
      "hbm_bytes_per_chip": 2**30,
      "step_seconds": 1.0 / candidate.mesh.fsdp,
    }

  start = experiment_of(pretrain.get_config("scenes"))
  best, found = suggestion.suggest(start, 16, plan, said.append)
  assert tried == [
    (1, "none"), (8, "none"), (8, "dots"), (16, "none"), (16, "dots"),
  ]  # fmt: skip
  assert (best.mesh.data, best.mesh.fsdp) == (1, 16)
  assert found["step_seconds"] == 1 / 16
  assert said[0].endswith("the state alone does not fit")
  assert said[1].endswith("does not fit") and "62.5 ms" in said[-1]
  assert suggestion.suggest(start, 16, lambda _: None, said.append) is None
