"""The layering of the package: who may import whom, read from the source."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("slan_jax", "slan_torch", "configs", "data")

# Each floor and wing, with what else of slan_jax it may import.
_MODEL_FLOOR = {"axes", "ops"}
_TASK_FLOOR = _MODEL_FLOOR | {"models", "objective"}
_TRAINING_FLOOR = _TASK_FLOOR | {"tasks"}
_WINGS = {"input", "evaluation", "interop"}
ALLOWED = {
  "axes": set(),
  "ops": {"axes"},
  "models": _MODEL_FLOOR,
  "objective": _MODEL_FLOOR,
  "tasks": _TASK_FLOOR,
  "training": _TRAINING_FLOOR,
  "input": {"axes"},
  "evaluation": {"axes"},
  "interop": {"axes", "models"},
  "jobs": _TRAINING_FLOOR | {"training"} | _WINGS,
}

# Third-party packages that belong to few places (prefixes of module names).
HOMES = {
  "flax": ("slan_jax.models", "slan_jax.tasks"),
  "absl": ("slan_jax.jobs", "configs"),
  "ml_collections": ("slan_jax.jobs", "configs"),
  "torch": ("slan_jax.interop", "slan_torch"),
  "slan_torch": ("slan_jax.interop", "slan_torch"),
  "tensorflow": (),
}
# Floors of pure arrays, and what they use but JAX and the standard library:
# optax for the assignment problem.
PURE = {
  "slan_jax.axes": (),
  "slan_jax.ops": (),
  "slan_jax.objective": ("optax",),
}
# Wings that run without JAX, but for one module each and those who use it.
JAX_FREE = {
  "slan_jax.input": "slan_jax.input.feed",
  "slan_jax.evaluation": "slan_jax.evaluation.evaluator",
}


def find_modules(root: Path) -> dict[str, Path]:
  """Dotted names of the packages' modules, and their files."""
  modules = {}
  for package in PACKAGES:
    for path in sorted((root / package).rglob("*.py")):
      parts = path.relative_to(root).with_suffix("").parts
      parts = parts[:-1] if parts[-1] == "__init__" else parts
      modules[".".join(parts)] = path
  return modules


def read_imports(name: str, source: str, modules: dict) -> set[str]:
  """Every module that a source imports anywhere, also inside functions."""
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{name}: relative import in line {node.lineno}"
      for alias in node.names:
        member = f"{node.module}.{alias.name}"
        found.add(member if member in modules else node.module)
  return found


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
  modules = find_modules(ROOT)
  return {
    name: read_imports(name, path.read_text("utf-8"), modules)
    for name, path in modules.items()
  }


def inside(name: str, package: str) -> bool:
  return name == package or name.startswith(package + ".")


def floor(name: str) -> str:
  return name.split(".")[1] if name.startswith("slan_jax.") else name


def find_steps_up(imports: dict[str, set[str]]) -> list[str]:
  wrong = []
  for name, targets in imports.items():
    if not name.startswith("slan_jax."):
      continue
    assert floor(name) in ALLOWED, f"{name} stands on no floor"
    for target in targets:
      own = target.startswith("slan_jax.")
      if own and floor(target) not in ALLOWED[floor(name)] | {floor(name)}:
        wrong.append(f"{name} imports {target}")
      if any(inside(target, top) for top in ("configs", "data", "tests")):
        wrong.append(f"{name} imports {target}")
  return wrong


def find_circle(imports: dict[str, set[str]]) -> list[str]:
  """A chain of modules that ends where it began, or nothing."""
  done: set[str] = set()

  def visit(name: str, path: list[str]) -> list[str]:
    if name in path:
      return [*path[path.index(name) :], name]
    if name in done:
      return []
    for target in sorted(imports[name] & imports.keys() - {name}):
      if circle := visit(target, [*path, name]):
        return circle
    done.add(name)
    return []

  return next((c for name in imports if (c := visit(name, []))), [])


def find_strangers(imports: dict[str, set[str]]) -> list[str]:
  return [
    f"{name} imports {target}"
    for name, targets in imports.items()
    for target in sorted(targets)
    for package, homes in HOMES.items()
    if inside(target, package) and not any(inside(name, h) for h in homes)
  ]


def reach(name: str, imports: dict[str, set[str]]) -> set[str]:
  """Everything that importing `name` imports, through our own modules."""
  seen, queue = set(), [name]
  while queue:
    for target in imports.get(queue.pop(), set()) - seen:
      seen.add(target)
      queue.append(target)
  return seen


def test_imports_only_point_down(imports):
  assert find_steps_up(imports) == []


def test_no_circle(imports):
  assert find_circle(imports) == []


def test_libraries_stay_at_home(imports):
  assert find_strangers(imports) == []


def test_array_floors_are_pure_jax(imports):
  for name, targets in imports.items():
    for package, more in PURE.items():
      if inside(name, package):
        others = {target.split(".")[0] for target in targets}
        others -= sys.stdlib_module_names
        assert others <= {"slan_jax", "jax", *more}, name


def test_wings_run_without_jax(imports):
  for name in imports:
    for wing, exception in JAX_FREE.items():
      if inside(name, wing) and name != exception:
        rest = {k: v for k, v in imports.items() if k != exception}
        used = {t for t in reach(name, rest) if inside(t, "jax")}
        assert not used, f"{name} imports {used}"


def test_slan_torch_needs_no_jax(imports):
  for name in imports:
    if inside(name, "slan_torch"):
      own = {target.split(".")[0] for target in reach(name, imports)}
      assert not own & {"jax", "flax", "slan_jax", "configs", "data"}, name


def test_no_file_is_a_drawer(imports):
  drawers = {"utils", "util", "helpers", "misc", "common_lib"}
  assert not [name for name in imports if name.split(".")[-1] in drawers]


def test_the_rules_can_be_broken():
  """Each finder, on a package that breaks its rule."""
  modules = {"slan_jax.ops": None, "slan_jax.ops.boxes": None}
  source = (
    "def f():\n  from slan_jax.ops import boxes, other\n  import flax.core"
  )
  found = read_imports("slan_jax.ops.boxes", source, modules)
  assert found == {"slan_jax.ops.boxes", "slan_jax.ops", "flax.core"}
  broken = {
    "slan_jax.ops.a": {"slan_jax.models.b", "flax.linen"},
    "slan_jax.models.b": {"slan_jax.ops.a", "data.scenes"},
  }
  assert find_steps_up(broken) == [
    "slan_jax.ops.a imports slan_jax.models.b",
    "slan_jax.models.b imports data.scenes",
  ]
  assert find_circle(broken)[0] == "slan_jax.ops.a"
  assert find_strangers(broken) == ["slan_jax.ops.a imports flax.linen"]
  assert "slan_jax.ops.a" in reach("slan_jax.models.b", broken)
