"""Captioning: BLEU, METEOR, ROUGE-L, CIDEr and SPICE, by pycocoevalcap.

Scores are in percent, CIDEr's too, as papers print them.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from slan_jax.evaluation.caption_words import PTB, java_path, tokenise

_BLEU = ("bleu1", "bleu2", "bleu3", "bleu4")
# SPICE's models are not part of the package; they are never fetched here.
_SPICE_MODELS = (
  "spice/lib/stanford-corenlp-3.6.0.jar",
  "spice/lib/stanford-corenlp-3.6.0-models.jar",
)
_NAMED = 5  # ids listed in a message
Texts = dict[str, list[str]]


class CaptionReport(NamedTuple):
  """What `score_captions` finds.

  Attributes:
    metrics: `bleu1` ... `bleu4`, `rouge_l`, `cider`, and `meteor` and `spice`
      where they can be computed; percent.
    captions: The same for each caption by itself, by image id.
    protocol: How they were computed, and what was left out and why.
  """

  metrics: dict[str, float]
  captions: dict[str, dict[str, float]]
  protocol: str


def score_captions(
  references: Mapping[str, Sequence[str]], captions: Mapping[str, str]
) -> CaptionReport:
  """Scores one caption of each image against what people wrote.

  Args:
    references: People's captions by image id, at least one of each image.
    captions: The model's caption by image id.

  Returns:
    The report.

  Raises:
    ValueError: No image, one without a reference or a caption, or a caption
      of an image that has no references; or Java's tokeniser failed.
  """
  _check(references, captions)
  truths, answers, words = _tokenised(references, captions)
  ids = list(truths)
  report = CaptionReport({}, {name: {} for name in ids}, "")
  for names, scorer in _scorers():
    _add(report, names, *scorer.compute_score(truths, answers))
  notes = [_meteor(report, truths, answers), _spice(report, truths, answers)]
  kept = [note for note in notes if note]
  protocol = (
    "BLEU-1 to 4 (closest length), ROUGE-L and CIDEr by pycocoevalcap, all "
    f"references of an image; words split by {words}."
  )
  if words != PTB:
    protocol += (
      " There is no Java: published scores use the Penn Treebank tokeniser, "
      "and these differ from them where captions hold unusual marks."
    )
  return report._replace(protocol=" ".join([protocol, *kept]))


def _check(
  references: Mapping[str, Sequence[str]], captions: Mapping[str, str]
) -> None:
  if not references:
    raise ValueError("captions: no image to score; is the split empty?")
  if not any(references.values()):
    raise ValueError(
      f"captions: none of {len(references)} images has a reference, so nothing "
      "can be scored; those of a test split are known to the server alone: "
      "submit the file"
    )
  for what, ids in (
    ("images without a reference", [i for i, r in references.items() if not r]),
    ("images without a caption", [i for i in references if i not in captions]),
    (
      "captions of images that are not in the ground truth",
      sorted(set(captions) - set(references)),
    ),
  ):
    if ids:
      listed = ", ".join(map(str, ids[:_NAMED]))
      more = ", ..." if len(ids) > _NAMED else ""
      raise ValueError(f"captions: {len(ids)} {what}: {listed}{more}")


def _tokenised(
  references: Mapping[str, Sequence[str]], captions: Mapping[str, str]
) -> tuple[Texts, Texts, str]:
  """References and captions as words, by id; and what split them."""
  owners = [name for name, texts in references.items() for _ in texts]
  texts = [text for held in references.values() for text in held]
  tokens, words = tokenise([*texts, *(captions[name] for name in references)])
  truths: Texts = {name: [] for name in references}
  for name, line in zip(owners, tokens):
    truths[name].append(line)
  answers = {
    name: [line] for name, line in zip(references, tokens[len(texts) :])
  }
  return truths, answers, words


class _Quiet(Bleu):
  """BLEU that does not print its counts."""

  def compute_score(self, gts: Texts, res: Texts) -> tuple[Any, Any]:
    return super().compute_score(gts, res, verbose=0)


def _scorers() -> Iterator[tuple[Sequence[str], Any]]:
  yield _BLEU, _Quiet(len(_BLEU))
  yield ("rouge_l",), Rouge()
  yield ("cider",), Cider()


def _add(
  report: CaptionReport, names: Sequence[str], scores: Any, each: Any
) -> None:
  """Notes the scores of one scorer: of all captions, and of each."""
  if len(names) == 1:
    scores, each = [scores], [each]
  for name, score, own in zip(names, scores, each):
    report.metrics[name] = 100 * float(score)
    for held, value in zip(report.captions.values(), own):
      held[name] = 100 * float(value)


def _meteor(report: CaptionReport, truths: Texts, answers: Texts) -> str:
  """Adds METEOR; returns what there is to say about it."""
  if java_path() is None:
    return (
      "METEOR is left out: it is a Java program, and there is no `java`; "
      "install a Java runtime."
    )
  scorer = Meteor()
  try:
    _add(report, ["meteor"], *scorer.compute_score(truths, answers))
  except (OSError, ValueError) as error:  # its process ended
    return f"METEOR is left out: its Java program failed ({error})."
  finally:
    process = scorer.meteor_p
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
      with contextlib.suppress(OSError):  # what was not sent is lost
        pipe.close()
    process.wait()
    if scorer.lock.locked():  # it would wait for this when it is deleted
      scorer.lock.release()
  return "METEOR 1.5."


def _spice(report: CaptionReport, truths: Texts, answers: Texts) -> str:
  """Adds SPICE where its models are; returns what there is to say about it."""
  package, lacks = resources.files("pycocoevalcap"), []
  if java_path() is None:
    lacks.append("it is a Java program, and there is no `java`")
  if not all((package / name).is_file() for name in _SPICE_MODELS):
    lacks.append("its models are not installed")
  if lacks:
    return f"SPICE is left out: {'; '.join(lacks)}."
  from pycocoevalcap.spice.spice import Spice

  # It returns parts of each caption's graph in the order of sorted ids.
  ids = sorted(truths)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      score, parts = Spice().compute_score(truths, answers)
  except Exception as error:  # Java of another version, or too little memory
    return f"SPICE is left out: its Java program failed ({error})."
  report.metrics["spice"] = 100 * float(score)
  for name, part in zip(ids, parts):
    report.captions[name]["spice"] = 100 * float(part["All"]["f"])
  return "SPICE 1.0."
