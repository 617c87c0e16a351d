"""Runs jobs in processes of this machine."""

import contextlib
import ctypes
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any

from data.shard import Job, write_shard

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_AHEAD = 2  # jobs per process handed out in advance
_LOOK = 0.2  # seconds between looks at the counter
_done: Any = None  # within a process: items done by all


def run_jobs(
  jobs: Iterable[Job], workers: int, advance: Callable[[int], None]
) -> None:
  """Writes every shard.

  Args:
    jobs: In any order; not more than a few are held at a time.
    workers: Processes; 1 works in this one.
    advance: Called with the number of items done since the last call.
  """
  if workers == 1:
    keep_pages()
    for job in jobs:
      write_shard(job, advance)
    return
  # Started afresh, not forked: the parent may hold threads.
  context = multiprocessing.get_context("spawn")
  counter = context.Value("q", 0)
  shown = 0
  with futures.ProcessPoolExecutor(
    workers, context, initializer=_begin, initargs=(counter,)
  ) as pool:
    waiting: set[futures.Future] = set()
    try:
      for job in jobs:
        waiting.add(pool.submit(_work, job))
        while len(waiting) >= _AHEAD * workers:
          waiting = _wait(waiting)
          shown = _show(counter, shown, advance)
      while waiting:
        waiting = _wait(waiting)
        shown = _show(counter, shown, advance)
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise


def keep_pages() -> None:
  """Keeps freed memory in the process, where the C library can be told to.

  Pictures come and go by the hundred thousand bytes: to get fresh pages from
  the system for each takes longer than everything that is done to it.
  """
  with contextlib.suppress(OSError, AttributeError):
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def _wait(waiting: set[futures.Future]) -> set[futures.Future]:
  done, waiting = futures.wait(
    waiting, _LOOK, return_when=futures.FIRST_COMPLETED
  )
  for future in done:
    future.result()  # raises what the process raised
  return waiting


def _show(counter: Any, shown: int, advance: Callable[[int], None]) -> int:
  advance(counter.value - shown)
  return counter.value


def _begin(counter: Any) -> None:
  global _done
  _done = counter
  keep_pages()
  threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
  """Ends this process when the one that started it was killed."""
  parent = multiprocessing.parent_process()
  if parent:
    parent.join()
    os._exit(1)


def _work(job: Job) -> None:
  write_shard(job, _count)


def _count(items: int) -> None:
  with _done.get_lock():
    _done.value += items
