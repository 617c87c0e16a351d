"""Question answering as a job: its task, its rows and its scores."""

import functools
from pathlib import Path
from typing import Any

import jax

from slan_jax.evaluation import vqa_score
from slan_jax.evaluation.cases import Case, save_cases
from slan_jax.evaluation.report import with_skipped
from slan_jax.evaluation.result_file import write_answers
from slan_jax.evaluation.writing import Questions, answer_questions
from slan_jax.input.answers import AnswerList, encode_answers, read_answers
from slan_jax.input.maker import MakeMaker
from slan_jax.input.parts import Question
from slan_jax.input.questions import (
  QuestionMaker,
  QuestionSplit,
  question_split,
)
from slan_jax.input.text import TextEncoder
from slan_jax.jobs.experiment import Experiment, batch_shape, marks_of
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.tasks import vqa
from slan_jax.tasks.config import Vqa
from slan_jax.tasks.task import Task

RESULTS = "results.json"


def make(experiment: Experiment, encoder: TextEncoder) -> Task:
  """The task over the model that the experiment configures."""
  return vqa.make_task(
    experiment.model,
    experiment.objective,
    experiment.vqa,
    batch_shape(experiment, encoder),
    marks_of(encoder),
  )


def maker(experiment: Experiment) -> MakeMaker:
  """Questions with their answers."""
  options = experiment.vqa
  return functools.partial(
    QuestionMaker,
    answers=options.answers,
    answer_length=options.answer_length,
  )


def open_scorer(setting: Setting) -> Score:
  """VQA accuracy, by kind of question; leaves results.json for a server.

  A split whose answers are secret has no metrics.
  """
  split = question_split(*setting.source, limit=setting.limit)
  options = setting.experiment.vqa
  questions = Questions(split.tokens, split.mask, split.question_image)
  listed = None
  if options.inference == "rank":
    encoder = setting.encoder.with_length(options.answer_length)
    directory, *_ = setting.source
    listed = encode_answers(read_answers(directory), encoder)
  known = [q for q in split.questions if q.answers]
  chance = vqa_score.chance_metrics(known) if known else {}

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    found = answer_questions(
      setting.task.predict,
      params,
      split.images,
      questions,
      None if listed is None else (listed.ids, listed.mask),
      setting.batching,
    )
    if listed is not None:
      texts = [listed.texts[row] for row in found]
    else:
      texts = [setting.encoder.decode(row) for row in found]
    given = dict(zip((q.id for q in split.questions), texts))
    if output is not None and jax.process_index() == 0:
      write_answers(output / RESULTS, given)
    metrics = {}
    if known:
      answered = {q.id: given[q.id] for q in known}
      scores = vqa_score.question_scores(known, answered)
      metrics = vqa_score.vqa_metrics(known, scores)
      if output is not None and jax.process_index() == 0:
        save_cases(output, scores, lambda row: _case(split, given, known[row]))
    outcome = {
      "task": "vqa",
      "protocol": _protocol(options, listed, bool(known)),
      "score": options.inference,
      "samples": {
        "images": len(split.image_ids),
        "questions": len(split.questions),
        "questions_without_answer": len(split.questions) - len(known),
      }
      | _counts(listed),
      "metrics": metrics,
      "chance": chance,
    }
    return with_skipped(outcome, split.skipped)

  return score


def _case(split: QuestionSplit, given: dict[str, str], asked: Question) -> Case:
  place = split.questions.index(asked)
  people = ", ".join(f"{text} ({n})" for text, n in asked.answers.items())
  score = vqa_score.answer_score(given[asked.id], asked.answers)
  image = split.images[split.question_image[place]][None]
  lines = [f"answer: {given[asked.id]}", f"people: {people}"]
  return Case(image, asked.text, lines, 100 * score)


def _counts(listed: AnswerList | None) -> dict[str, int]:
  """Samples of a list that is ranked."""
  if listed is None:
    return {}
  return {
    "answers": len(listed.texts),
    "answers_merged": listed.merged,
    "answers_cut": listed.cut,
  }


def _protocol(options: Vqa, listed: AnswerList | None, known: bool) -> str:
  if listed is not None:
    count = len(listed.texts)
    kept = min(options.rank_first, count)
    how = (
      f"{kept} of a list of {count} answers, chosen by the probability of "
      "their first token, ranked by that of the whole answer."
    )
    if listed.merged:
      how += (
        f" {listed.merged} further ones read like an earlier one, in "
        f"{options.answer_length} tokens or by unknown words, which stands for "
        "them."
      )
    if listed.cut:
      how += (
        f" Of {listed.cut} only the first {options.answer_length} tokens are "
        "read."
      )
  else:
    write = options.write
    search = f"beam search with {write.beams} beams"
    if write.search == "nucleus":
      search = f"nucleus sampling, p {write.top_p:g}"
    how = (
      f"Any answer, by {search}, {write.shortest} to {write.longest} tokens."
    )
  if not known:
    return f"{how} The answers of this split are secret: no metrics."
  return f"{how} {vqa_score.PROTOCOL}"
