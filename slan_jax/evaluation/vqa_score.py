"""Visual question answering: the official accuracy, by sort of answer.

Axis letter: Q questions. Rates are in percent.

An answer scores min(1, matches / 3) against the others' answers, averaged over
leaving each of the people out once. Answers are normalised only where people
disagree, as the official script does.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from slan_jax.evaluation.answer_words import clean_answer, normal_answer

PROTOCOL = (
  "Official VQA accuracy: an answer scores min(1, matches / 3), averaged over "
  "leaving out each of the people once; answers are normalised by the official "
  "rules where people disagree, compared as written where all agree. Chance: "
  "the best single answer to all questions of a kind, known from these very "
  "questions."
)
_NAMED = 5  # ids listed in a message


class Asked(Protocol):
  """A question: its id, kind of answer, and how many people gave each."""

  id: str
  kind: str
  answers: Mapping[str, int]


def answer_score(answer: str, given: Mapping[str, int]) -> float:
  """Score of one answer.

  Args:
    answer: What the model said.
    given: How many people gave each answer; at least one did.

  Returns:
    0..1.
  """
  counts, answer = _compared(given), clean_answer(answer)
  if len(_cleaned(given)) > 1:
    answer = normal_answer(answer)
  return _leave_one_out(counts[answer], counts.total())


def _cleaned(given: Mapping[str, int]) -> Counter[str]:
  counts: Counter[str] = Counter()
  for text, count in given.items():
    counts[clean_answer(text)] += count
  return counts


def _compared(given: Mapping[str, int]) -> Counter[str]:
  """The people's answers as they are compared with the model's."""
  cleaned = _cleaned(given)
  if len(cleaned) < 2:
    return cleaned
  counts: Counter[str] = Counter()
  for text, count in cleaned.items():
    counts[normal_answer(text)] += count
  return counts


def _leave_one_out(matches: int, people: int) -> float:
  """Mean over the people of min(1, matches of the others / 3)."""
  with_one, without = min(1, (matches - 1) / 3), min(1, matches / 3)
  return (matches * with_one + (people - matches) * without) / people


def question_scores(
  questions: Sequence[Asked], answers: Mapping[str, str]
) -> np.ndarray:
  """Scores of the answers to some questions.

  Args:
    questions: What was asked, with the people's answers.
    answers: The model's answer by question id.

  Returns:
    float64 [Q], 0..1.

  Raises:
    ValueError: No question, one without an answer of the model or of people,
      or an answer to a question that was not asked.
  """
  if not questions:
    raise ValueError("vqa: no question to score; is the split empty?")
  secret = [q.id for q in questions if not sum(q.answers.values())]
  if secret:
    raise ValueError(
      f"vqa: {len(secret)} of {len(questions)} questions have no answers to "
      f"compare with ({_some(secret)}); those of a test split are known to the "
      "server alone: write a result file and submit it"
    )
  missing = [q.id for q in questions if q.id not in answers]
  unknown = sorted(answers.keys() - {q.id for q in questions})
  for what, ids in (
    ("questions without an answer", missing),
    ("answers to questions that are not in the ground truth", unknown),
  ):
    if ids:
      raise ValueError(f"vqa: {len(ids)} {what}: {_some(ids)}")
  return np.array([answer_score(answers[q.id], q.answers) for q in questions])


def vqa_metrics(
  questions: Sequence[Asked], scores: np.ndarray
) -> dict[str, float]:
  """Mean scores, in all and by kind of answer.

  Args:
    questions: What was asked.
    scores: [Q] of `question_scores`.

  Returns:
    `vqa_accuracy`, and `vqa_accuracy_KIND` of each kind ("yes/no" is
    `yes_no`), in percent.
  """
  by_kind: dict[str, list[float]] = defaultdict(list)
  for question, score in zip(questions, scores):
    by_kind[kind_name(question.kind)].append(float(score))
  metrics = {"vqa_accuracy": 100 * float(np.mean(scores))}
  for kind in sorted(filter(None, by_kind)):
    metrics[f"vqa_accuracy_{kind}"] = 100 * float(np.mean(by_kind[kind]))
  return metrics


def kind_name(kind: str) -> str:
  """A kind of answer as a part of a metric's name: "yes/no" -> "yes_no"."""
  return "".join(c if c.isalnum() else "_" for c in kind.lower())


def chance_metrics(questions: Sequence[Asked]) -> dict[str, float]:
  """What the best single answer to all questions of a kind scores.

  Args:
    questions: What was asked, with the people's answers.

  Returns:
    The names of `vqa_metrics`.
  """
  by_kind: dict[str, list[Asked]] = defaultdict(list)
  for question in questions:
    by_kind[question.kind].append(question)
  guesses = {kind: _best_guess(asked) for kind, asked in by_kind.items()}
  answers = {q.id: guesses[q.kind] for q in questions}
  return vqa_metrics(questions, question_scores(questions, answers))


def _best_guess(questions: Sequence[Asked]) -> str:
  """The answer that scores most over some questions."""
  total: Counter[str] = Counter()
  for question in questions:
    for text in _compared(question.answers):
      # Normalised words are an answer too: they normalise to themselves.
      total[text] += answer_score(text, question.answers)
  return max(sorted(total), key=lambda text: total[text], default="")


def _some(ids: Sequence[str]) -> str:
  listed = ", ".join(map(str, ids[:_NAMED]))
  return listed + (", ..." if len(ids) > _NAMED else "")
