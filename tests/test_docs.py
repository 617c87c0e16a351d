"""The documents name what exists: functions, tests, keys and files."""

import ast
import re
from pathlib import Path

import pytest

from configs import base

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/METHOD.md", "docs/CONTRACTS.md")
FILES = {"model.safetensors"}  # which look like keys
SECTIONS = (
  "init_from|data|text|model|objective|optimizer|evaluation|mesh|"
  "localisation|detection|video|captioning|vqa|grounding"
)


def read(page: str) -> str:
  return (ROOT / page).read_text("utf-8")


def names(path: Path) -> set[str]:
  """Functions and classes of a file."""
  kinds = (ast.FunctionDef, ast.ClassDef)
  return {
    node.name
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, kinds)
  }


def test_functions_and_tests_exist():
  found = re.findall(r"`([\w/]+\.py)::(\w+)`", read("docs/METHOD.md"))
  assert len(found) > 40
  missing = [
    f"{path}::{name}"
    for path, name in found
    if not (ROOT / path).exists() or name not in names(ROOT / path)
  ]
  assert missing == []


def test_every_silence_and_addition_is_listed():
  """What configs/base.py calls so in pre-training has a row in METHOD.md."""
  page, comment, seen = read("docs/METHOD.md"), "", []
  parts = re.split(r"(?m)^def _(\w+)", read("configs/base.py"))
  wanted = ("data", "model", "objective", "optimizer")
  lines = [
    line.strip()
    for name, body in zip(parts[1::2], parts[2::2])
    if name in wanted
    for line in body.splitlines()
  ]
  for line in lines:
    found = re.match(r"(?:\w+\.)?(\w+) ?=(.*)", line)
    if found:
      told = comment + found[2].partition("#")[2]
      if re.search("[Ss]ilence|[Aa]ddition", told):
        seen.append(found[1])
    comment = comment + line if line.startswith("#") else ""
  assert len(seen) > 30
  assert [key for key in seen if not re.search(rf"\.{key}`", page)] == []


@pytest.mark.parametrize("page", PAGES)
def test_configuration_keys_exist(page):
  config = base.get_config().to_dict()
  keys = re.findall(rf"[`.]((?:{SECTIONS})\.\w+(?:\.\w+)*)[`=]", read(page))
  for key in set(keys) - FILES:
    value = config
    for part in key.split("."):
      assert isinstance(value, dict) and part in value, f"{page}: {key}"
      value = value[part]


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page):
  links = re.findall(r"\]\((?!https?:)([^)#]+)\)", read(page))
  home = (ROOT / page).parent
  # Pictures are made by a run, the rest is written.
  missing = [
    link
    for link in links
    if not link.endswith(".png") and not (home / link).exists()
  ]
  assert missing == []
