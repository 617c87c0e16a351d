"""What README tells to type: flags that parse, configurations that resolve.

Each program is asked in a process of its own, so that no other program's flags
help; nothing is trained.
"""

import json
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from configs import finetune
from data.prepare import build_parser
from slan_jax.jobs.catalog import SCORED
from slan_jax.jobs.choices import choose
from slan_jax.jobs.common import experiment_of

ROOT = Path(__file__).parent.parent
# Command lines on stdin, what they mean on stdout: main() up to its work.
PARSE = """
import importlib, json, os, sys
from absl import flags
from slan_jax.jobs import common

def launch(job):
  common._parse()
  values = {name: flags.FLAGS[name].value for name in flags.FLAGS
            if flags.FLAGS[name].present and not name.startswith("config")}
  if "config" in flags.FLAGS and flags.FLAGS.config is not None:
    experiment = common.experiment_of(flags.FLAGS.config)
    start, data = experiment.init_from.run, experiment.data.dir
    values |= {"trained": experiment.task, "start": start, "from": data}
  print(json.dumps(values), flush=True)

def launch_parsed(parser, job):
  print(json.dumps(vars(parser.parse_args()), default=str), flush=True)

common.launch, common.launch_parsed = launch, launch_parsed
program = importlib.import_module(sys.argv[1])
for words in json.load(sys.stdin):
  child = os.fork()  # the flags of one line are no default of the next
  if not child:
    sys.argv = words
    program.main()
    os._exit(0)
  if os.waitpid(child, 0)[1]:
    sys.exit(" ".join(words))
"""


def commands() -> list[list[str]]:
  """Every command of the blocks, and of the table of downstream tasks."""
  text = (ROOT / "README.md").read_text("utf-8")
  blocks = "\n".join(re.findall(r"(?m)^    (.*)$", text))
  lines = blocks.replace("\\\n", " ").splitlines()
  section = text.partition("## Downstream tasks")[2].partition("\n## ")[0]
  lines += re.findall(r"\| `(slan-[^`]*)` \|", section)
  return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def meant() -> dict[str, list[dict]]:
  """Program -> what each of its command lines means."""
  setup = (ROOT / "setup.py").read_text("utf-8")
  modules = dict(re.findall(r'"(slan-\w+)=([\w.]+):main"', setup))
  lines = defaultdict(list)
  for words in commands():
    if words and words[0].startswith("slan-"):
      lines[words[0]].append(words)
  found = {}
  for program, asked in lines.items():
    done = subprocess.run(
      [sys.executable, "-W", "ignore", "-c", PARSE, modules[program]],
      input=json.dumps(asked),
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stderr
    found[program] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found[program]) == len(asked)
  return found


def test_every_command_parses_and_its_configuration_resolves(meant):
  assert {"slan-train", "slan-eval", "slan-import", "slan-predict"} <= {*meant}
  assert len(meant["slan-predict"]) > 5
  for asked in meant["slan-eval"]:
    task = asked["task"] if asked["task"] in finetune.TASKS else "retrieval"
    run = experiment_of(finetune.get_config(task))
    _, changed = choose(run, asked["task"], asked.get("set", []))
    assert len(changed) == len(asked.get("set", []))


def test_every_task_is_drawn_tuned_and_scored(meant):
  parser, drawn = build_parser(), {"runs/data/scenes"}  # by make pretrain
  for words in commands():
    if words[:3] == ["python", "-m", "data.prepare"] and "scenes" in words[3]:
      drawn.add(str(parser.parse_args(words[3:]).out))
  tuned = {
    asked["workdir"]: asked["trained"]
    for asked in meant["slan-train"]
    if asked.get("start") == "runs/scenes" and asked["from"] in drawn
  }
  assert sorted(tuned.values()) == sorted(finetune.TASKS)
  scored = {(asked["workdir"], asked["task"]) for asked in meant["slan-eval"]}
  assert scored >= tuned.items()
  assert {task for _, task in scored} == {*SCORED}
  for asked in meant["slan-eval"]:
    assert asked.get("data", "runs/data/scenes") in drawn
