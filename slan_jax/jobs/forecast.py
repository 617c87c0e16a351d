"""What a program needs and how fast it can be, from what XLA compiles."""

import re
import tempfile
import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, NamedTuple

import jax

from slan_jax.evaluation import hlo, hlo_cost
from slan_jax.jobs.programs import Work, bytes_per_device
from slan_jax.jobs.topology import Topology

IMAGES = 14.07e6  # of the paper's five sources (4.1)
EPOCHS = 20
_NAMED = 8  # largest buffers of a program that does not fit
_PATIENCE = 0.5  # seconds between looks at what XLA has dumped
_SURE = 0.8  # of the memory: machine code was seen to add a sixth of the arrays
# The last file that libtpu dumps before it makes machine code.
_ASSIGNED = "after_optimizations_after_buffer_assignment.txt"


class Built(NamedTuple):
  """A compiled program, or as much of it as XLA made before it gave up.

  Attributes:
    text: the optimised program.
    temporary: bytes per device beyond inputs and outputs.
    seconds: of lowering and compiling, up to there.
    complaint: why it does not fit; "" = it does.
  """

  text: str
  temporary: int
  seconds: float
  complaint: str


def forecast(
  work: Work,
  topology: Topology,
  mesh: jax.sharding.Mesh,
  *,
  machine_code: bool = False,
) -> dict[str, Any]:
  """Compiles a program ahead of time and reads its costs.

  Args:
    work: the program.
    topology: the devices.
    mesh: over them.
    machine_code: wait for that of a TPU.

  Returns:
    The keys of docs/CONTRACTS.md, `slan-plan --topology`.
  """
  chip = topology.chip
  built = build(work, limit=None if machine_code or not chip else chip.memory)
  program = hlo.parse(built.text)
  cost = hlo_cost.measure(
    program,
    flops=chip.flops if chip else 1.0,
    bandwidth=chip.bandwidth if chip else 1.0,
  )
  held = {name: bytes_per_device(tree) for name, tree in work.inputs.items()}
  held["temporary"] = built.temporary
  sent: dict[str, float] = {}
  for (kind, _), size in cost.sent.items():
    sent[kind] = sent.get(kind, 0.0) + size
  found = {
    "program": work.name,
    "topology": topology.name,
    "devices": mesh.size,
    "mesh": dict(mesh.shape),
    "examples": work.examples,
    "chip": chip._asdict() if chip else None,
    "fits": not built.complaint,
    "hbm_bytes_per_chip": sum(held.values()),
    "hbm_limit_bytes": chip.memory if chip else None,
    "hbm_bytes_by_kind": held,
    "model_flops_per_step": work.model_flops,
    "hardware_flops_per_step": cost.flops * mesh.size,
    "bytes_per_chip": cost.bytes,
    "collective_bytes_per_chip": sum(sent.values()),
    "collective_bytes_by_kind": sent,
    "loops_of_unknown_length": cost.unknown_loops,
    "compile_seconds": built.seconds,
  }
  found |= _times(found, cost, topology, mesh)
  if built.complaint:
    found["complaint"] = built.complaint
  found["largest_buffers"] = largest_buffers(program)
  return found


def _times(found, cost, topology: Topology, mesh) -> dict[str, Any]:
  """Roofline times, and what follows from them; None where no chip is known."""
  keys = (
    "compute_seconds", "memory_seconds", "interconnect_seconds",
    "operation_seconds", "step_seconds", "mfu_bound", "images_per_second",
    "hours", "chip_hours",
  )  # fmt: skip
  chip = topology.chip
  if chip is None:
    return dict.fromkeys(keys)
  order = list(mesh.devices.flat)
  travel = sum(
    size / topology.rate(group, order) for (_, group), size in cost.sent.items()
  )
  # Operations follow one another; what is sent travels beside them.
  step = max(cost.seconds, cost.bytes / chip.bandwidth, travel)
  speed = found["examples"] / step
  hours = IMAGES * EPOCHS / speed / 3600
  model = found["model_flops_per_step"]
  values = (
    cost.flops / chip.flops,
    cost.bytes / chip.bandwidth,
    travel,
    cost.seconds,
    step,
    model / (mesh.size * chip.flops * step),
    speed,
    hours,
    hours * mesh.size,
  )
  return dict(zip(keys, values))


def build(work: Work, *, limit: int | None = None) -> Built:
  """Compiles a program; one that does not fit is read from XLA's dump.

  Args:
    work: the program.
    limit: bytes of a chip's memory. A program that surely fits is read as soon
      as XLA has assigned its arrays: machine code of a TPU, which adds memory
      for collectives, takes ten times as long. It is still being made in a
      thread then, which nothing but the end of the process stops. None = wait.

  Raises:
    JaxRuntimeError: it does not compile, for another reason than memory.
  """
  began = time.perf_counter()
  lowered = work.lower()
  name = str(lowered.compiler_ir().operation.attributes["sym_name"]).strip('"')
  held = sum(bytes_per_device(tree) for tree in work.inputs.values())
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    options = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
    future = _start(lowered.compile, options)
    while not wait([future], timeout=_PATIENCE).done:
      if limit is None or not _dumped(folder, name, _ASSIGNED):
        continue
      found = _read_dump(folder, name, held, began)
      if found and found.temporary + held <= _SURE * limit:
        return found
      limit = None  # only machine code tells, or XLA is about to refuse
    try:
      compiled = future.result()
    except jax.errors.JaxRuntimeError as error:
      found = _read_dump(folder, name, held, began)
      if "RESOURCE_EXHAUSTED" not in str(error) or found is None:
        raise
      return found._replace(complaint=str(error).splitlines()[0])
  spent = time.perf_counter() - began
  memory = compiled.memory_analysis()
  extra = memory.output_size_in_bytes - memory.alias_size_in_bytes
  size = memory.temp_size_in_bytes + extra
  return Built(compiled.as_text(), size, spent, "")


def _start(function, *arguments) -> Future:
  """Calls in a thread that does not keep the process from ending."""
  future: Future = Future()

  def run() -> None:
    try:
      future.set_result(function(*arguments))
    except BaseException as error:  # or whoever waits would wait for ever
      future.set_exception(error)

  threading.Thread(target=run, daemon=True).start()
  return future


def _read_dump(folder: str, name: str, held: int, began: float) -> Built | None:
  """What XLA dumped of a program whose inputs take `held` bytes, if it did."""
  text = _dumped(folder, name, "after_optimizations.txt")
  report = _dumped(folder, name, "memory-usage-report.txt")
  total = re.search(r"Total bytes: (\d+)", report)
  if not text or not total:
    return None
  size = max(int(total.group(1)) - held, 0)
  return Built(text, size, time.perf_counter() - began, "")


def _dumped(folder: str, name: str, end: str) -> str:
  """XLA's dump of a kind; "" where there is none."""
  for path in Path(folder).glob(f"*.{name}.*{end}"):
    return path.read_text()
  return ""


def largest_buffers(program: hlo.Program) -> list[dict[str, Any]]:
  """The largest arrays that a program makes, and what makes them."""
  made: dict[tuple, int] = {}
  fused = {
    name
    for computation in program.computations.values()
    for instruction in computation
    if instruction.opcode == "fusion"
    for name in instruction.calls("calls")
  }
  for name, computation in program.computations.items():
    if name in fused:
      continue
    for instruction in computation:
      if instruction.opcode in ("tuple", "get-tuple-element", "parameter"):
        continue
      if instruction.opcode in ("while", "bitcast"):
        continue
      source = re.search(r'op_name="([^"]*)"', instruction.rest)
      for array in instruction.arrays:
        if array.main:
          shape = f"{array.dtype}[{','.join(map(str, array.shape))}]"
          key = shape, source.group(1) if source else instruction.opcode
          made[key] = array.bytes
  ranked = sorted(made.items(), key=lambda item: -item[1])[:_NAMED]
  return [
    {"bytes": size, "shape": shape, "source": source}
    for (shape, source), size in ranked
  ]
