"""How far and how fast a run goes: a clock, and what the terminal shows."""

import sys
from collections.abc import Callable, Mapping

import jax
from tqdm import tqdm


class Clock:
  """Splits wall time between training steps and the host's share of them.

  The host's share is the time from one step to the next in which Python does
  not wait for the devices: fetching data, placing it, writing logs. Saving is
  counted apart: the time until the arrays are copied, or until the checkpoint
  before is written. Evaluation and the first step of a process, which compiles,
  are left out.
  """

  def __init__(self, flops: Callable[[int], float] | None, peak: float):
    """Begins at zero.

    Args:
      flops: step -> model FLOPs of that step; None = unknown.
      peak: FLOP/s of all devices together.
    """
    self._flops, self._peak = flops, peak
    self.steps, self.seconds, self.host_seconds = 0, 0.0, 0.0  # of the run
    self.saves, self.save_seconds = 0, 0.0
    self._since = (0, 0.0, 0.0, 0.0)
    self._model_flops = 0.0

  def add(self, step: int, seconds: float, host_seconds: float) -> None:
    """Counts one step: its wall time and the host's share, in seconds."""
    self.steps += 1
    self.seconds += seconds
    self.host_seconds += host_seconds
    if self._flops is not None:
      self._model_flops += self._flops(step)

  def add_wait(self, seconds: float) -> None:
    """Counts waiting for the devices outside of `add`'s steps, in seconds."""
    if self.steps:  # the first step is left out, and so is the wait for it
      self.seconds += seconds

  def add_save(self, seconds: float) -> None:
    """Counts one save: how long it kept training from going on."""
    self.saves += 1
    self.save_seconds += seconds

  def describe(self, batch_size: int) -> str:
    """The run's speed, and where its time went."""
    total = self.seconds + self.save_seconds
    speed = batch_size * self.steps / self.seconds
    host = 100 * self.host_seconds / self.seconds
    saving = 100 * self.save_seconds / total
    return (
      f"{speed:.1f} images/s; host {host:.2f} % of the time; {self.saves} "
      f"saves took {self.save_seconds:.2f} s of {total:.2f} s ({saving:.2f} %)"
    )

  def interval(self, batch_size: int) -> dict[str, float]:
    """Speed since the last call; {} when no step was counted."""
    now = (self.steps, self.seconds, self.host_seconds, self._model_flops)
    steps, seconds, host, flops = (a - b for a, b in zip(now, self._since))
    self._since = now
    if not steps or seconds <= 0.0:
      return {}
    speed = {
      "images_per_second": batch_size * steps / seconds,
      "step_seconds": seconds / steps,
      "host_seconds": host / steps,
    }
    if self._flops is not None:
      speed["mfu"] = flops / seconds / self._peak
    return speed


class Display:
  """A bar on a terminal, a line per log interval elsewhere."""

  def __init__(self, step: int, total_steps: int):
    """Begins at `step`; only process 0 shows anything."""
    self._total = total_steps
    self._shown = jax.process_index() == 0
    self._bar = None
    if self._shown and sys.stdout.isatty():
      self._bar = tqdm(
        total=total_steps,
        initial=step,
        file=sys.stdout,
        dynamic_ncols=True,
        bar_format="{n_fmt}/{total_fmt} |{bar:24}| {percentage:.0f} %  {desc}",
      )

  def advance(self) -> None:
    """One step is done."""
    if self._bar is not None:
      self._bar.update()

  def rewind(self, step: int) -> None:
    """The run went back to `step`."""
    if self._bar is not None:
      self._bar.n = step
      self._bar.refresh()

  def show(self, step: int, values: Mapping[str, float]) -> None:
    """Shows the state of the run after a log interval."""
    text = describe(step, self._total, values)
    if self._bar is not None:
      self._bar.set_description_str(text)
    elif self._shown:
      print(f"step {step}/{self._total}  {text}", flush=True)

  def say(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    if self._bar is not None:
      self._bar.write(text, file=sys.stdout)
    elif self._shown:
      print(text, flush=True)

  def close(self) -> None:
    """Leaves the bar standing."""
    if self._bar is not None:
      self._bar.close()


def describe(step: int, total: int, values: Mapping[str, float]) -> str:
  """Loss, speed, utilisation and the time left in words.

  Args:
    step: steps done.
    total: steps of the run.
    values: means and speed of the last interval; what is missing is left out.
  """
  parts = []
  if "loss" in values:
    parts.append(f"loss {values['loss']:.3f}")
  if "step_seconds" in values:
    seconds = values["step_seconds"]
    parts.append(f"{values['images_per_second']:.1f} images/s")
    parts.append(f"{seconds:.3f} s/step")
    if "mfu" in values:
      parts.append(f"MFU {100 * values['mfu']:.1f} %")
    parts.append(f"ETA {duration((total - step) * seconds)}")
  return "  ".join(parts)


def duration(seconds: float) -> str:
  """Seconds as 0:07, 12:34 or 1:02:03."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return (
    f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
  )
