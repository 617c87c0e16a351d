"""The launchers call what they should: stubs on PATH note how they are called.

A stub answers from $ANSWERS/NAME, one line a call for each: an exit code and
what to print; without a line it ends with 0.
"""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
STUB = """#!/usr/bin/env bash
name=${0##*/}
printf '%s' "$name" >>"$CALLS"
printf ' %q' "$@" >>"$CALLS"
echo >>"$CALLS"
case "$*" in *describe*) name=state ;; *slan.exit*echo*) name=exit ;; esac
line=$(head -n 1 "$ANSWERS/$name" 2>/dev/null) || true
sed -i 1d "$ANSWERS/$name" 2>/dev/null || true
read -r code text <<<"${line:-0}"
[[ $text ]] && echo "$text"
exit "$code"
"""
STUBS = (
  "gcloud", "xpk", "kubectl", "srun", "squeue", "scontrol", "git", "slan-eval",
  "slan-report",
)  # fmt: skip
ZONE = ("--zone", "us-x1", "--project", "p")
SLICE = ("--type", "v5litepod-16", "--runtime", "v2", "--spot")
COMMAND = ("--", "slan-train", "--workdir", "gs://b/a run")
SSH = "gcloud compute tpus tpu-vm ssh pod --project=p --zone=us-x1"
QUEUE = "gcloud compute tpus queued-resources"


@pytest.fixture
def launch(tmp_path):
  """(script, *arguments, answers) -> (exit code, output, calls)."""
  binaries, answers = tmp_path / "bin", tmp_path / "answers"
  binaries.mkdir()
  answers.mkdir()
  calls = tmp_path / "calls"
  for name in STUBS:
    (binaries / name).write_text(STUB)
    (binaries / name).chmod(0o755)

  def run(script: str, *arguments: str, **lines: list[str]):
    for name, text in lines.items():
      (answers / name.replace("_", "-")).write_text("\n".join(text) + "\n")
    calls.write_text("")
    environment = {
      **os.environ,
      "PATH": f"{binaries}:{os.environ['PATH']}",
      "CALLS": str(calls), "ANSWERS": str(answers), "POLL": "0",
      "TMPDIR": "/t", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7",
    }  # fmt: skip
    done = subprocess.run(
      ["bash", LAUNCH / script, *arguments],
      env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    text = done.stdout + done.stderr
    return done.returncode, text, calls.read_text().splitlines()

  return run


def test_create_waits_for_the_slice(launch):
  code, text, calls = launch(
    "tpu_pod.sh", "create", "pod", *ZONE, *SLICE,
    state=["0 WAITING_FOR_RESOURCES", "0 PROVISIONING", "0 ACTIVE"],
  )  # fmt: skip
  assert code == 0 and "pod is PROVISIONING" in text
  place = "--project=p --zone=us-x1"
  assert calls == [
    f"{QUEUE} create pod {place} --node-id=pod "
    "--accelerator-type=v5litepod-16 --runtime-version=v2 --spot",
    *[f"{QUEUE} describe pod {place} --format=value\\(state.state\\)"] * 3,
  ]
  code, text, _ = launch(
    "tpu_pod.sh", "create", "pod", *ZONE, *SLICE, state=["0 FAILED"]
  )
  assert code == 1 and "the request for pod is FAILED" in text


def test_install_copies_the_tree_and_the_data_to_all_hosts(launch):
  code, _, calls = launch(
    "tpu_pod.sh", "install", "pod", *ZONE, "--data", "gs://b/data/coco/"
  )
  assert code == 0
  assert calls[0].endswith("--output=/t/slan-pod.tar.gz HEAD")
  assert calls[1].startswith(
    "gcloud compute tpus tpu-vm scp /t/slan-pod.tar.gz"
  )
  assert "--worker=all" in calls[1]
  assert calls[2].startswith(f"{SSH} --worker=all --command=")
  assert "make\\ setup" in calls[2] and "requirements.lock" in calls[2]
  assert "gs://b/data/coco\\ slan_jax/runs/data/coco" in calls[3]


def test_start_log_stop_status_and_delete(launch):
  for verb, arguments, expected in (
    ("start", COMMAND, "slan-train\\ --workdir\\ gs://b/a"),
    ("log", (), "--worker=0 --command=tail"),
    ("stop", (), "--worker=all --command=kill\\ -TERM"),
    ("status", (), "--format=value"),
    ("delete", (), "queued-resources delete pod --project=p --zone=us-x1"),
  ):
    code, _, calls = launch("tpu_pod.sh", verb, "pod", *ZONE, *arguments)
    assert code == 0 and expected in calls[0], verb


def test_resume_makes_the_slice_again_until_the_run_is_complete(launch):
  code, text, calls = launch(
    "tpu_pod.sh", "resume", "pod", *ZONE, *SLICE, *COMMAND,
    state=[f"0 {s}" for s in ("SUSPENDED", "ACTIVE", "ACTIVE", "ACTIVE",
                              "ACTIVE", "ACTIVE")],
    exit=["0 running", "255", "0 143", "0 0"],
  )  # fmt: skip
  assert code == 0 and "the run of pod is complete" in text
  did = [
    word
    for call in calls
    for word in (" delete ", " create ", "scp", "make\\ setup", "run_host.sh")
    if word in call
  ]
  again = ["run_host.sh"]  # after 143: stopped, the slice is still there
  assert did == [
    " delete ", " create ", "scp", "make\\ setup", "run_host.sh", *again
  ]  # fmt: skip


@pytest.mark.parametrize("ended", (1, 2, 3))
def test_resume_does_not_repeat_what_would_fail_again(launch, ended):
  code, _, calls = launch(
    "tpu_pod.sh", "resume", "pod", *ZONE, *SLICE, *COMMAND,
    state=["0 ACTIVE"], exit=[f"0 {ended}"],
  )  # fmt: skip
  assert code == ended and len(calls) == 2


def test_resume_starts_what_does_not_run(launch):
  """Installing failed before, or the host was started again; and so may ssh."""
  code, text, calls = launch(
    "tpu_pod.sh", "resume", "pod", *ZONE, *SLICE, *COMMAND,
    state=["0 ACTIVE"] * 3, exit=["0 gone", "0 gone", "0 0"],
    gcloud=["1", "0", "0", "255"],
  )  # fmt: skip
  assert code == 0 and text.count("nothing runs on pod, starting it") == 2
  did = [
    word
    for call in calls
    for word in ("scp", "make\\ setup", "run_host.sh")
    if word in call
  ]
  assert did == ["scp", "scp", "make\\ setup", "run_host.sh"]


def test_what_runs_on_a_host_lets_go_of_the_connection(launch, tmp_path):
  """The commands of start, status and stop as a host's shell runs them."""
  (tmp_path / "slan_jax" / "launch").mkdir(parents=True)
  host = tmp_path / "slan_jax" / "launch" / "run_host.sh"
  host.write_text(
    '#!/bin/bash\necho $$ >slan.pid\necho "$*" >words\nsleep 60\n'
  )
  host.chmod(0o755)

  def on_host(verb: str, *arguments: str) -> str:
    _, _, calls = launch("tpu_pod.sh", verb, "pod", *ZONE, *arguments)
    (word,) = shlex.split(calls[-1].split("--command=")[1])
    done = subprocess.run(
      ["bash", "-c", f"{{ {word}; }} | cat"],
      cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.strip()

  assert on_host("status") == "gone"
  assert on_host("start", *COMMAND) == ""
  while on_host("status") != "running":  # the program is only beginning
    time.sleep(0.05)
  words = tmp_path / "slan_jax" / "words"
  assert words.read_text() == "slan-train --workdir gs://b/a run\n"
  os.kill(int((tmp_path / "slan_jax" / "slan.pid").read_text()), signal.SIGKILL)
  while on_host("status") == "running":
    time.sleep(0.05)
  assert on_host("status") == "gone"
  (tmp_path / "slan_jax" / "slan.exit").write_text("143\n")
  assert on_host("status") == "143"


def test_a_workload_of_xpk(launch):
  where = ("--cluster", "c", "--zone", "z")
  code, _, calls = launch(
    "gke_xpk.sh", "create", "run", *where, "--type", "v5litepod-16",
    "--slices", "2", "--image", "i", *COMMAND,
  )  # fmt: skip
  assert code == 0
  assert calls == [
    "xpk workload create --workload=run --zone=z --cluster=c "
    "--tpu-type=v5litepod-16 --num-slices=2 --docker-image=i "
    "--max-restarts=20 --termination-grace-period-seconds=300 "
    "--command=slan-train\\ --workdir\\ gs://b/a\\\\\\ run\\ --distributed"
  ]
  assert launch("gke_xpk.sh", "delete", "run", *where)[2] == [
    "xpk workload delete --workload=run --zone=z --cluster=c"
  ]
  assert "jobset-name=run" in launch("gke_xpk.sh", "log", "run", *where)[2][0]
  assert (
    "--filter-by-job=run" in launch("gke_xpk.sh", "list", "run", *where)[2][0]
  )


@pytest.mark.parametrize(
  "code, requeued",
  [(0, False), (2, False), (3, False), (4, True), (137, True), (143, True)],
)
def test_slurm_goes_on_with_what_was_stopped(launch, code, requeued):
  for state in ("RUNNING", "COMPLETING"):  # the latter when it is cancelled
    ended, _, calls = launch(
      "slurm.sbatch", "slan-train", "--x",
      srun=[str(code)], squeue=[f"0 {state}"],
    )  # fmt: skip
    assert ended == code
    assert calls[0] == (
      "srun --kill-on-bad-exit=1 --label slan-train --x --distributed"
    )
    again = requeued and state == "RUNNING"
    assert ("scontrol requeue 7" in calls) == again


def test_evaluate_scores_all_tasks_whatever_one_does(launch):
  code, _, calls = launch(
    "evaluate.sh", "run", "--checkpoint", "best", "--", "--force",
    slan_eval=["2", "0"],
  )  # fmt: skip
  assert code == 2
  assert calls == [
    *(
      f"slan-eval --workdir=run --task={task} --checkpoint=best "
      f"--output=run/eval/{task} --force"
      for task in ("retrieval", "grounding")
    ),
    "slan-report --workdir=run",
  ]


def test_dry_runs_print_and_call_nothing(launch):
  for arguments, printed in (
    (("tpu_pod.sh", "create", "pod", *ZONE, *SLICE), f"{QUEUE} create pod"),
    (("tpu_pod.sh", "install", "pod", *ZONE), "gcloud compute tpus tpu-vm scp"),
    (("tpu_pod.sh", "resume", "pod", *ZONE, *SLICE), f"{QUEUE} delete pod"),
    (("tpu_pod.sh", "start", "pod", *ZONE), f"{SSH} --worker=all"),
    (("tpu_pod.sh", "log", "pod", *ZONE), f"{SSH} --worker=0"),
    (
      ("gke_xpk.sh", "create", "r", "--cluster", "c", "--type", "t",
       "--base", "i"),
      "pip\\ install",
    ),
    (("evaluate.sh", "run", "--hosts", "2"), "local_hosts.sh 2 slan-eval"),
  ):  # fmt: skip
    needs = arguments[1] in ("resume", "start", "create")
    command = (
      COMMAND if needs and arguments[:2] != ("tpu_pod.sh", "create") else ()
    )
    code, text, calls = launch(*arguments, "--dry-run", *command)
    assert code == 0 and printed in text and calls == [], text
  code, text, calls = launch("slurm.sbatch", "--dry-run", "slan-train")
  assert code == 0 and "slan-train --distributed" in text and calls == []


@pytest.mark.parametrize(
  "arguments, message",
  [
    (("tpu_pod.sh",), "expected a verb and a name"),
    (("tpu_pod.sh", "create", "pod"), "--zone is missing"),
    (("tpu_pod.sh", "create", "pod", *ZONE), "needs --type and --runtime"),
    (("tpu_pod.sh", "start", "pod", *ZONE), "expected -- and a command"),
    (("tpu_pod.sh", "fly", "pod", *ZONE), "unknown verb fly"),
    (("gke_xpk.sh", "list", "run"), "--cluster is missing"),
    (("gke_xpk.sh", "list", "run", "--x"), "unknown argument --x"),
    (("slurm.sbatch",), "usage: sbatch"),
    (("evaluate.sh",), "expected a work directory"),
    (("local_hosts.sh", "0", "x"), "usage:"),
  ],
)
def test_bad_usage_is_explained(launch, arguments, message):
  code, text, calls = launch(*arguments)
  assert code == 2 and message in text and calls == []


@pytest.fixture
def member(tmp_path) -> Path:
  """A program that ends, fails or waits, by its first argument."""
  path = tmp_path / "member"
  path.write_text(
    "#!/usr/bin/env bash\n"
    'echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES: $*"\n'
    "[[ $1 = fail && $JAX_PROCESS_ID = 1 ]] && exit 7\n"
    "[[ $1 = end ]] && exit 0\n"
    "trap 'exit 143' TERM\n"
    "for ((i = 0; i < 600; i++)); do sleep 0.1; done\n"
  )
  path.chmod(0o755)
  return path


def test_local_processes_are_told_who_they_are(launch, member):
  code, text, _ = launch("local_hosts.sh", "3", str(member), "end", "a b")
  assert code == 0
  assert sorted(text.splitlines()) == [
    f"[{index}] {index} of 3: end a b --distributed" for index in range(3)
  ]


def test_one_that_fails_ends_the_others(launch, member, monkeypatch):
  monkeypatch.setenv("GRACE", "1")
  code, text, _ = launch("local_hosts.sh", "2", str(member), "fail")
  assert code == 7
  assert "process 1 ended with code 7, the others follow" in text


def test_local_processes_get_the_signal(member, tmp_path):
  with open(tmp_path / "out", "w") as out:
    run = subprocess.Popen(
      [LAUNCH / "local_hosts.sh", "2", member, "wait"], stdout=out
    )
  while (tmp_path / "out").read_text().count(" of 2:") < 2:
    time.sleep(0.02)
  run.send_signal(signal.SIGTERM)
  assert run.wait(60) == 143


def test_a_host_leaves_log_and_exit_code(tmp_path, member):
  (tmp_path / "launch").mkdir()
  script = tmp_path / "launch" / "run_host.sh"
  script.write_text((LAUNCH / "run_host.sh").read_text())
  environment = os.environ | {"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}
  for how in ("fail", "end"):
    subprocess.run(["bash", script, member, how], check=True, env=environment)
  assert (tmp_path / "slan.exit").read_text() == "0\n"
  lines = (tmp_path / "slan.log").read_text().splitlines()
  assert lines == ["1 of 2: fail --distributed", "1 of 2: end --distributed"]
