"""Test setting: eight CPU devices, no silent broadcasting, a home for data."""

import os

# Both must be set before jax is first imported, here or in any test.
os.environ["JAX_PLATFORMS"] = "cpu"
# Programs run once here: compiling them fast beats running them fast.
_FLAGS = (
  "--xla_force_host_platform_device_count=8",
  "--xla_backend_optimization_level=0",
  "--xla_llvm_disable_expensive_passes=true",
  "--xla_cpu_use_fusion_emitters=false",
)
_given = os.environ.get("XLA_FLAGS", "").split()
os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys((*_given, *_FLAGS)))

from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example of a property pays for compilation: no deadline. The same
# examples in every run, so that a failure can be repeated.
settings.register_profile("quiet", deadline=None, derandomize=True)
settings.load_profile("quiet")


# Files are dealt out whole, so that what one compiles serves all of its tests.
# Those that compile longest go first: no core waits for the other at the end.
_LONGEST = (
  "tests/tasks/test_pretrain.py",
  "tests/training/test_sharding.py",
  "tests/slan_torch/test_parity.py",
  "tests/slan_torch/test_slan.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  items.sort(key=lambda item: item.nodeid.partition("::")[0] not in _LONGEST)


@pytest.fixture(scope="session")
def test_data() -> Path | None:
  """Folder of real and reference data, or None: then tests make their own."""
  folder = os.environ.get("SLAN_TEST_DATA")
  return Path(folder) if folder else None
