"""What every job does before and after its own work."""

import argparse
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import jax
from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags
from tqdm import tqdm

from slan_jax.input.errors import InputError
from slan_jax.interop.problems import LoadError
from slan_jax.jobs import peers
from slan_jax.jobs.typed import to_dataclass
from slan_jax.training.errors import CorruptCheckpointError, NonFiniteError

BAD_INPUT = 2
FALLS_SHORT = 3
INTERRUPTED = 130
# Errors whose message tells the user what to change.
EXPECTED = (ValueError, OSError, InputError, CorruptCheckpointError)

WORKDIR = flags.DEFINE_string("workdir", None, "Home of the run.")
OUTPUT = flags.DEFINE_string("output", None, "Where the results are written.")
_DEBUG = flags.DEFINE_bool("debug", False, "Show where an error comes from.")
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  False,
  "Join the other processes of this run first: found by themselves on TPU pods "
  "and under Slurm, else through the environment: JAX_COORDINATOR_ADDRESS "
  "(host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID.",
)
_JOIN_TIMEOUT = flags.DEFINE_float(
  "join_timeout", 300.0, "Seconds to wait for all processes to join.", 1.0
)
_PEER_TIMEOUT = flags.DEFINE_float(
  "peer_timeout",
  60.0,
  "Seconds without a sign of life after which a process counts as dead.",
  1.0,
)


@functools.cache  # flags are defined once, whatever jobs a process imports
def define_config() -> flags.FlagHolder:
  """Defines --config FILE[:ARGUMENT] and --config.key=value."""
  return config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration file, as configs/pretrain.py:scenes",
    lock_config=True,
  )


@functools.cache
def define_task(scored: tuple[str, ...]) -> flags.FlagHolder:
  """Defines --task, one of the evaluations."""
  return flags.DEFINE_enum("task", None, scored, "What is scored.")


def experiment_of(config):
  """The typed experiment of a ConfigDict; here the ConfigDict ends."""
  # Imported here: it brings what only training needs.
  from slan_jax.jobs.experiment import Experiment

  return to_dataclass(config.to_dict(), Experiment)


def launch(job: Callable[[], int | None]) -> None:
  """Parses flags, runs a job and leaves with its exit code.

  Bad usage and bad input end with code 2 and one paragraph, a diverging run
  with code 3, one whose other processes are gone with 4, Ctrl-C outside the
  training loop with 130.

  Args:
    job: the work; returns an exit code, None for 0.
  """

  def whole() -> int | None:
    _parse()
    _log_to_terminal()
    if not _DISTRIBUTED.value:
      return job()
    patience = peers.Patience(_JOIN_TIMEOUT.value, _PEER_TIMEOUT.value)
    return peers.together(job, patience)

  _leave(whole)


def launch_parsed(
  parser: argparse.ArgumentParser,
  job: Callable[[argparse.Namespace], int | None],
) -> None:
  """As `launch`, for a job on one host with arguments of its own.

  Args:
    parser: knows them all.
    job: the work, given them.
  """
  arguments = parser.parse_args()
  flags.FLAGS(sys.argv[:1])
  _log_to_terminal()
  _leave(lambda: job(arguments))


def _leave(job: Callable[[], int | None]) -> None:
  """Leaves with the job's exit code, or with that of its error."""
  name = Path(sys.argv[0]).name
  debug = "--debug" in sys.argv  # also when the flags do not parse
  try:
    sys.exit(job() or 0)
  except NonFiniteError as error:
    code = _explain(name, error, debug, FALLS_SHORT)
  except peers.PeerLostError as error:
    code = _explain(name, error, debug, peers.PEER_LOST)
  except EXPECTED as error:
    code = _explain(name, error, debug, BAD_INPUT)
  except KeyboardInterrupt:
    code = INTERRUPTED
  except Exception:
    if not jax.distributed.is_initialized():
      raise
    traceback.print_exc()
    code = 1
  if jax.distributed.is_initialized():
    peers.leave(code)
  sys.exit(code)


def _parse() -> None:
  try:
    rest = flags.FLAGS(sys.argv)
  except flags.Error as error:
    text = str(error)
    if "Traceback" in text:  # of the configuration file: its last line tells
      text = text.strip().splitlines()[-1]
    raise ValueError(f"{text}. See --helpshort") from error
  except AttributeError as error:
    # ml_collections: a key that the locked configuration does not have.
    text = str(error).strip("\"'").replace("\\n", " ").replace("\\", "")
    raise ValueError(f"unknown configuration key: {text}") from error
  if len(rest) > 1:
    raise ValueError(f"unexpected arguments {rest[1:]}. See --helpshort")


def _explain(name: str, error: Exception, debug: bool, code: int) -> int:
  if debug:
    traceback.print_exc()
  else:
    text = str(error)
    if not isinstance(error, LoadError):  # whose lists have lines of their own
      text = " ".join(text.split())
    print(
      f"{name}: {text} (--debug shows where this comes from)", file=sys.stderr
    )
  return code


class _Terminal(logging.Handler):
  """Writes warnings between the lines of a progress bar."""

  def emit(self, record: logging.LogRecord) -> None:
    level = record.levelname.lower()
    tqdm.write(f"{level}: {record.getMessage()}", file=sys.stderr)


def _log_to_terminal() -> None:
  # Orbax and TFDS talk a lot, and what fails there is told in our words.
  talk = absl_logging.ERROR if "--debug" in sys.argv else absl_logging.FATAL
  absl_logging.set_verbosity(talk)
  logger = logging.getLogger("slan_jax")
  logger.propagate = False
  if not logger.handlers:
    logger.addHandler(_Terminal(logging.WARNING))


def use_cpu_devices(count: int) -> None:
  """Splits a CPU into virtual devices; XLA fills one core with each.

  Must come before any array is made. XLA_FLAGS that already split it stay.

  Args:
    count: `mesh.cpu_devices`; accelerators are not affected.
  """
  if "xla_force_host_platform_device_count" not in os.environ.get(
    "XLA_FLAGS", ""
  ):
    jax.config.update("jax_num_cpu_devices", count)


def use_compilation_cache(directory: str) -> None:
  """Keeps compiled programs, so that the next run need not compile them.

  Args:
    directory: "" = no cache; "~" is the home directory.
  """
  if directory:
    path = Path(directory).expanduser().absolute()
    jax.config.update("jax_compilation_cache_dir", str(path))


def keep_compiled() -> None:
  """Keeps what a question compiles for the next one, in the user's cache.

  JAX_COMPILATION_CACHE_DIR names another place.
  """
  if not jax.config.jax_compilation_cache_dir:
    use_compilation_cache("~/.cache/slan_jax")
