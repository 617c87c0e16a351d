"""A forecast as people read it."""

from typing import Any

from rich.console import Console
from rich.table import Table

from slan_jax.jobs import forecast

GIB = 2**30


def show(found: dict[str, Any], console: Console) -> None:
  """Prints memory, costs, times and, where it does not fit, what is large."""
  title = f"{found['program']} on {found['topology']}, mesh " + " x ".join(
    f"{name} {size}" for name, size in found["mesh"].items()
  )
  table = Table("per chip", "", title=title, title_justify="left")
  for name, value in [*_memory(found), *_costs(found), *_times(found)]:
    table.add_row(name, value)
  console.print(table)
  if not found["fits"]:
    console.print(f"DOES NOT FIT: {found['complaint']}. Its largest arrays:")
    for buffer in found["largest_buffers"]:
      size = buffer["bytes"] / GIB
      line = f"  {size:6.2f} GiB  {buffer['shape']}  {buffer['source']}"
      console.print(line, markup=False, highlight=False, soft_wrap=True)


def _memory(found: dict[str, Any]) -> list[tuple[str, str]]:
  limit = found["hbm_limit_bytes"]
  total = f"{found['hbm_bytes_per_chip'] / GIB:.2f} GiB"
  if limit:
    total += f" of {limit / GIB:.2f}"
  parts = found["hbm_bytes_by_kind"].items()
  return [
    ("memory", total),
    *((f"  {name}", f"{size / GIB:.3f} GiB") for name, size in parts),
  ]


def _costs(found: dict[str, Any]) -> list[tuple[str, str]]:
  chips = found["devices"]
  kinds = found["collective_bytes_by_kind"].items()
  return [
    ("model FLOPs", f"{found['model_flops_per_step'] / chips:.4g}"),
    ("hardware FLOPs", f"{found['hardware_flops_per_step'] / chips:.4g}"),
    ("memory traffic", f"{found['bytes_per_chip'] / 1e9:.3f} GB"),
    ("sent to others", f"{found['collective_bytes_per_chip'] / 1e9:.4f} GB"),
    *((f"  {kind}", f"{size / 1e9:.4f} GB") for kind, size in kinds),
    ("compiled in", f"{found['compile_seconds']:.0f} s"),
  ]


def _times(found: dict[str, Any]) -> list[tuple[str, str]]:
  if found["step_seconds"] is None:
    return [("times", "unknown: no table has this device")]
  rows = [
    (name, f"{1e3 * found[key]:.2f} ms")
    for name, key in (
      ("arithmetic alone", "compute_seconds"),
      ("memory alone", "memory_seconds"),
      ("each operation by its slower one", "operation_seconds"),
      ("interconnect", "interconnect_seconds"),
      ("at least, a step", "step_seconds"),
    )
  ]
  rows += [
    ("a chip's peaks", _peaks(found["chip"])),
    ("MFU at most", f"{100 * found['mfu_bound']:.1f} %"),
    ("examples per second, all chips", f"{found['images_per_second']:,.0f}"),
  ]
  if found["program"] == "train":
    images = forecast.IMAGES / 1e6
    rows.append(
      (
        f"{forecast.EPOCHS} epochs of {images:.2f} M images",
        f"{found['hours']:.1f} h, {found['chip_hours']:,.0f} chip hours",
      )
    )
  return rows


def _peaks(chip: dict[str, Any]) -> str:
  return (
    f"{chip['flops'] / 1e12:.0f} TFLOP/s, {chip['bandwidth'] / 1e9:,.0f} GB/s, "
    f"{chip['link'] / 1e9:.0f} GB/s a link"
  )
