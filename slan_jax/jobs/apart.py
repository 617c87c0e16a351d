"""A call in a process of its own, which ends with the answer."""

import multiprocessing.connection
import os
import threading
import traceback
from collections.abc import Callable
from typing import Any


def call_apart(function: Callable[..., Any], *arguments: Any) -> Any:
  """Calls a function in a new process; threads that it leaves end with it.

  Args:
    function: of a module; what it takes and returns is pickled.
    arguments: of the function.

  Returns:
    What it returns.

  Raises:
    ChildProcessError: the process ended without an answer, as one that ran out
      of memory does. What the function raises is raised here.
  """
  context = multiprocessing.get_context("spawn")
  receiver, sender = context.Pipe(duplex=False)
  process = context.Process(
    target=_answer, args=(sender, function, arguments), daemon=True
  )
  process.start()
  sender.close()
  try:
    answer, error = receiver.recv()
  except EOFError:
    process.join()
    raise ChildProcessError(
      f"{function.__name__}: its process ended with {process.exitcode} and no "
      "answer; -9 is what a machine without memory left does"
    ) from None
  finally:
    process.kill()
    process.join()
  if error is not None:
    raise error
  return answer


def _answer(sender, function, arguments) -> None:
  threading.Thread(target=_end_with_parent, daemon=True).start()
  try:
    answer = function(*arguments), None
  except Exception as error:
    error.add_note(f"In a process of its own:\n{traceback.format_exc()}")
    answer = None, error
  sender.send(answer)


def _end_with_parent() -> None:
  """Ends this process when its parent is gone, killed as it may be."""
  multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
  os._exit(1)
