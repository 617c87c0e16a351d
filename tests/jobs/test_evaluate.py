"""The evaluation and report jobs on a finished run of the light task."""

import dataclasses
import json
import logging
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from data.schema import record
from slan_jax.evaluation import partial
from slan_jax.evaluation.cases import read_cases
from slan_jax.evaluation.overlap import box_iou
from slan_jax.input.image import Pictures
from slan_jax.jobs import evaluate, report, train, unfinished, workdir
from slan_jax.jobs.evaluate import Request
from slan_jax.jobs.evaluation_mesh import evaluation_mesh
from slan_jax.jobs.workdir import WorkdirError
from slan_jax.training import sharding
from slan_jax.training.checkpoint import Checkpoints
from tests.evaluation import browser
from tests.input.prepared import picture, write_dataset
from tests.jobs.light import STEPS, light_experiment, light_task


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
  """A complete run's directory."""
  directory = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, "make_task", light_task)
    assert train.train(light_experiment(scenes), directory) == 0
  return directory


def request(directory, **changes) -> Request:
  experiment = workdir.read(directory)
  plain = Request(
    task="retrieval",
    data=experiment.data.dir,
    split="test",
    galleries=(4, 8),
    step=STEPS,
    config_hash=workdir.config_hash(experiment),
    untrained=True,
  )
  return dataclasses.replace(plain, **changes)


def score(directory, output, wanted) -> dict:
  experiment = workdir.read(directory)
  checkpoints = workdir.open_checkpoints(directory)
  return evaluate.evaluate(experiment, checkpoints, wanted, output)


def test_retrieval_and_grounding_and_report(run, capsys):
  wanted = request(run)
  output = run / "eval" / "retrieval"
  assert evaluate.reuse(output, wanted) is None
  found = score(run, output, wanted)
  assert found == json.loads((output / "metrics.json").read_text())
  assert found["checkpoint_step"] == STEPS
  assert found["config_hash"] == wanted.config_hash
  assert found["samples"]["images"] == 4
  assert {"i2t_r1", "gallery8_i2t_r1"} <= set(found["metrics"])
  assert set(found["untrained"]) == set(found["metrics"])
  assert found["untrained"] != found["metrics"]
  assert (output / "examples.npz").exists()
  assert [1 / case.score for case in read_cases(output)] == sorted(
    1 / case.score for case in read_cases(output)
  )
  page = (output / "report.html").read_text()
  tree = browser.parse(page)
  assert "retrieval: test" in {x.text for x in tree.iter("h1")}
  shown = [browser.picture_of(x.attrib["src"]) for x in tree.iter("img")]
  assert shown and {x.size for x in shown} == {(64, 64)}
  drawn = browser.draw(page).astype(np.int16)
  assert drawn.shape[0] > 800 and len(np.unique(drawn.reshape(-1, 3), 0)) > 50

  assert evaluate.reuse(output, wanted) == found
  assert evaluate.reuse(output, request(run, step=3)) is None
  assert evaluate.reuse(output, request(run, galleries=(4,))) is None
  (output / "metrics.json").write_text("{")
  assert evaluate.reuse(output, wanted) is None
  score(run, output, dataclasses.replace(wanted, untrained=False))

  wanted = request(run, task="grounding", untrained=False)
  found = score(run, run / "eval" / "grounding", wanted)
  assert found["untrained"] == {} and 0 <= found["metrics"]["pointing"] <= 100
  assert 0 < found["samples"]["counterfactual_pairs"] <= 8
  metrics, chance = found["metrics"], found["chance"]
  for name in ("counterfactual", "counterfactual_moved", "mean_iou"):
    assert 0 <= metrics[name] <= 100 and name in chance
  assert "Counterfactual:" in found["protocol"]
  assert "counterfactual" not in (run / "evaluations.jsonl").read_text()
  tree = browser.parse((run / "eval/grounding/report.html").read_text())
  boxes = [x for x in tree.iter() if "title" in x.attrib]
  assert len(boxes) > 8 and found["protocol"] in {
    x.text for x in tree.iter("p")
  }
  best, *_, worst = read_cases(run / "eval" / "grounding")
  assert best.score > worst.score
  for case in (best, worst):
    assert all(label in case.text for label in case.labels)
    assert len(case.boxes) == len(case.labels)
    # A phrase may have more than one box.
    assert list(dict.fromkeys(case.truth_labels)) == case.labels
    truth = np.asarray(case.truth)
    own = [
      np.max(box_iou(box, truth[np.array(case.truth_labels) == label]))
      for box, label in zip(case.boxes, case.labels)
    ]
    assert case.score == pytest.approx(np.mean(own))

  capsys.readouterr()
  assert report.report(run) == 0
  printed = capsys.readouterr().out
  assert printed.index("retrieval") < printed.index("grounding")
  for name in ("curves", "training", "levels", "retrieval"):
    assert (run / "pictures" / f"{name}.png").stat().st_size > 1000


def ask(directory, *given: str) -> int:
  """What `slan-eval` does with these flags."""
  with flagsaver.flagsaver():
    flags.FLAGS(["slan-eval", f"--workdir={directory}", *given])
    return evaluate._from_flags()


def test_scores_lie_in_the_run_unless_told_and_are_those_of_any_mesh(
  run, tmp_path, monkeypatch
):
  monkeypatch.setattr(sharding, "SMALL_BYTES", 0)  # so that all is split
  seen, make = [], evaluate.make_mesh
  monkeypatch.setattr(
    evaluate, "make_mesh", lambda sizes: seen.append(sizes) or make(sizes)
  )
  given = "--task=retrieval", "--split=val", "--nountrained"
  assert ask(run, *given, f"--output={tmp_path / 'other'}") == 0
  assert ask(run, *given, "--mesh=data=2,fsdp=4", "--force") == 0
  one, other = (
    json.loads((place / "metrics.json").read_text())
    for place in (tmp_path / "other", run / "eval" / "retrieval")
  )
  assert one == other and one["metrics"]
  made = [dict(make(sizes).shape) for sizes in seen]
  assert made == [{"data": 8, "fsdp": 1}, {"data": 2, "fsdp": 4}]


def test_secret_objects_leave_a_result_file_and_a_page(run, tmp_path, capsys):
  pictures = [
    record(str(n), picture(20 * n), (16, 16), []) for n in range(1, 4)
  ]
  data = write_dataset(tmp_path / "data", test=pictures)
  (data / "categories.json").write_text('[{"id": 18, "name": "dog"}]')
  given = f"--data={data}", f"--output={tmp_path}"
  assert ask(run, "--task=detection", *given) == 0
  found = json.loads((tmp_path / "metrics.json").read_text())
  assert found["metrics"] == found["untrained"] == found["chance"] == {}
  assert "has an annotated object: no metrics" in found["protocol"]
  assert "not fine-tuned for detection: zero-shot." in found["protocol"]
  rows = json.loads((tmp_path / "detections.json").read_text())
  assert {row["image_id"] for row in rows} == {1, 2, 3}
  assert {row["category_id"] for row in rows} == {18}
  page = browser.parse((tmp_path / "report.html").read_text())
  assert found["protocol"] in {x.text for x in page.iter("p")}
  assert "3 images" in capsys.readouterr().out


def test_what_was_chosen_is_told_and_is_another_request(run, tmp_path, capsys):
  given = "--task=retrieval", "--nountrained", f"--output={tmp_path}"
  own, one, again = (), ("--set=evaluation.top_k=1",), "already holds these"
  pairs = []
  for more, reused in (
    (own, False), (one, False), (one, True), (own, False),
    (("--set=evaluation.top_k=2", "--set=evaluation.batch_size=3"), True),
  ):  # fmt: skip
    assert ask(run, *given, *more) == 0
    assert (again in capsys.readouterr().out) == reused
    found = json.loads((tmp_path / "metrics.json").read_text())
    pairs.append(found["samples"]["pairs_reranked"])
    told = "Set otherwise than in the run: evaluation.top_k=1."
    assert (told in found["protocol"]) == (more == one)
  assert pairs[0] == pairs[3] == pairs[4] > pairs[1] == pairs[2]


def test_a_mesh_is_of_all_devices(run):
  own = workdir.read(run).mesh
  for asked, sizes in {
    "fsdp=4": (2, 4),
    "data=8": (8, 1),
    "data=-1,fsdp=2": (4, 2),
    "fsdp=-1,data=1": (1, 8),
  }.items():
    found = evaluation_mesh(own, asked)
    assert (found.data, found.fsdp) == sizes
  for bad in ("", "8", "data=0", "data=2,data=4", "data=-1", "x=8", "data=8,"):
    with pytest.raises(ValueError, match=f"--mesh={bad}: expected data=N,fsdp"):
      evaluation_mesh(own, bad)
  for bad in ("data=3", "data=4,fsdp=4", "data=16"):
    with pytest.raises(ValueError, match=f"{bad} does not fit 8 device"):
      evaluation_mesh(own, bad)
  other = dataclasses.replace(own, data=1, fsdp=3)  # of another machine
  assert evaluation_mesh(other).fsdp == 1 and jax.device_count() == 8


def test_untrained_is_what_training_began_with(run, scenes, tmp_path):
  """The first evaluation of training scored the same parameters."""
  first = (run / "evaluations.jsonl").read_text().splitlines()[0]
  wanted = request(run, split="val", galleries=(4,))
  found = score(run, tmp_path, wanted)["untrained"]
  assert found["r_mean"] == json.loads(first)["r_mean"]


def test_choice_of_checkpoint(run):
  checkpoints = workdir.open_checkpoints(run)
  assert workdir.choose_step(checkpoints, "last") == STEPS
  assert workdir.choose_step(checkpoints, "best") in checkpoints.steps()
  assert workdir.choose_step(checkpoints, "4") == 4
  with pytest.raises(ValueError, match=r"checkpoint=5: choose .* 3, 4, 6"):
    workdir.choose_step(checkpoints, "5")
  with pytest.raises(ValueError, match="checkpoint=first: choose"):
    workdir.choose_step(checkpoints, "first")


def test_sizes_of_galleries():
  assert evaluate.parse_galleries(None, (3,)) == (3,)
  assert evaluate.parse_galleries(["200", "1000"], (3,)) == (200, 1000)
  for bad in (["x"], ["0"], ["-1"], []):
    with pytest.raises(ValueError, match="expected numbers of images"):
      evaluate.parse_galleries(bad, (3,))


def test_nothing_to_evaluate_is_named(tmp_path):
  with pytest.raises(WorkdirError, match="no checkpoint yet; train first"):
    workdir.open_checkpoints(tmp_path)
  with pytest.raises(WorkdirError, match="not the work directory"):
    report.report(tmp_path)


def test_other_data_is_read_with_the_words_of_the_run(run, tmp_path):
  experiment = workdir.read(run)
  own = experiment.data.dir
  assert evaluate.on_data(experiment, own) == experiment
  other = evaluate.on_data(experiment, "elsewhere")
  assert other.data.dir == "elsewhere"
  directory = Path(own, "tokenizer")
  assert other.text.tokenizer == str(directory) and directory.is_dir()
  assert evaluate.on_data(other, str(tmp_path)).text == other.text


class Broken(Exception):
  """The evaluation was interrupted."""


def by_hand(monkeypatch, stop=None) -> list[int]:
  """Has pairs scored uncompiled; notes the calls, and breaks one of them."""
  calls = []

  def scored_task(name, experiment, encoder, own):
    itm = own.predict["itm"]

    def watched(*args):
      if len(calls) == stop:
        raise Broken
      calls.append(1)
      return itm(*args)

    watched.eager = True
    return own._replace(predict=own.predict | {"itm": watched})

  monkeypatch.setattr(evaluate, "scored_task", scored_task)
  return calls


def test_an_interrupted_evaluation_goes_on(run, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(unfinished, "SECONDS", 0)
  monkeypatch.setattr(partial, "_PAUSE", 0)
  wanted, kept = request(run), tmp_path / "partial"
  whole = by_hand(monkeypatch)
  expected = score(run, tmp_path / "whole", wanted)
  assert not (tmp_path / "whole" / "partial").exists()
  # In the last chunk of the untrained model: all of the run's is finished.
  by_hand(monkeypatch, stop=len(whole) - 1)
  with pytest.raises(Broken):
    score(run, tmp_path, wanted)
  assert {path.name for path in kept.iterdir()} == {"model", "untrained"}
  assert evaluate.reuse(tmp_path, wanted) is None and kept.exists()
  rest = by_hand(monkeypatch)
  assert score(run, tmp_path, wanted) == expected
  assert 0 < len(rest) < len(whole) / 2 and not kept.exists()
  told = capsys.readouterr().out
  assert "goes on from what was scored of the model" in told
  assert evaluate.reuse(tmp_path, wanted) == expected


@pytest.mark.parametrize("change", ["step", "parameters", "pictures"])
def test_what_another_evaluation_finished_is_not_taken(
  run, tmp_path, monkeypatch, caplog, change
):
  monkeypatch.setattr(unfinished, "SECONDS", 0)
  monkeypatch.setattr(partial, "_PAUSE", 0)
  wanted = request(run, untrained=False)
  by_hand(monkeypatch, stop=3)
  with pytest.raises(Broken):
    score(run, tmp_path, wanted)
  logger = logging.getLogger("slan_jax")
  monkeypatch.setattr(logger, "propagate", True)
  if change == "step":
    wanted = request(run, untrained=False, step=4)
  elif change == "parameters":  # as another training would leave them
    restore = Checkpoints.restore_part
    monkeypatch.setattr(
      Checkpoints,
      "restore_part",
      lambda *args: jax.tree.map(lambda x: x + 1, restore(*args)),
    )
  else:
    read = Pictures.digest
    monkeypatch.setattr(Pictures, "digest", lambda own: read(own)[::-1])
  calls = by_hand(monkeypatch)
  found = score(run, tmp_path, wanted)
  assert "are removed" in caplog.text
  fresh = by_hand(monkeypatch)
  assert found == score(run, tmp_path / "fresh", wanted)
  assert len(calls) == len(fresh) > 3


def test_an_output_that_cannot_be_written_costs_no_hours(run, tmp_path):
  (tmp_path / "partial").touch()
  with pytest.raises(ValueError, match=r"cannot be written.*another --output"):
    score(run, tmp_path, request(run))
