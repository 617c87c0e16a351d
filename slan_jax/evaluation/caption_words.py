"""Captions as words: the Penn Treebank tokeniser that COCO's scores begin with.

It is a Java program that comes with pycocoevalcap. Without Java our own rules
take its place; they agree on plain captions, not on every mark.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources

PTB = "the Penn Treebank tokeniser of Stanford CoreNLP 3.4.1"
RULES = "built-in rules"
# Tokens that the official script drops; brackets stay, for they are written
# in lower case by then.
_DROPPED = {
  "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";",
}  # fmt: skip
_JAR = "tokenizer/stanford-corenlp-3.4.1.jar"
_CLASS = "edu.stanford.nlp.process.PTBTokenizer"

_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": "--"})
_TOKEN = re.compile(
  r"""
  n't\b | '(?:s|m|d|re|ve|ll)\b          # what follows a word
  | \.\.\. | --
  | (?:[a-z]\.){2,}                      # u.s.
  | (?:st|rd|dr|ave|blvd|mrs?|ms|jr|sr|vs|etc)\.
  | \d+(?:[.,:/]\d+)*(?!\w)              # 1,000 3.5 10:30 1/2
  | \w+?(?=n't\b) | \w+(?:[-'/]\w+)*?(?='(?:s|m|d|re|ve|ll)\b)
  | \w+(?:[-'/]\w+)*                     # t-shirt o'clock
  | \S
  """,
  re.VERBOSE,
)
_PARTS = {"cannot": "can not", "gonna": "gon na", "wanna": "wan na"}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-"}
_BRACKETS |= {"{": "-lcb-", "}": "-rcb-", '"': "''"}


def java_path() -> str | None:
  """The Java runtime that would be used, or None where there is none."""
  return shutil.which("java")


def tokenise(texts: Sequence[str]) -> tuple[list[str], str]:
  """Splits captions into the words that are compared.

  Args:
    texts: Captions.

  Returns:
    Of each its words in lower case, without marks, joined by spaces; and what
    split them: PTB, or RULES where there is no Java.

  Raises:
    ValueError: Java's program failed; its message is in the error.
  """
  lines = [" ".join(text.split()) for text in texts]
  java = java_path()
  if java is None:
    return [" ".join(_kept(rule_tokens(line))) for line in lines], RULES
  tokens = _run(java, lines)
  return [" ".join(_kept(line.split(" "))) for line in tokens], PTB


def _kept(tokens: Sequence[str]) -> list[str]:
  return [token for token in tokens if token and token not in _DROPPED]


def _run(java: str, lines: Sequence[str]) -> list[str]:
  jar = resources.files("pycocoevalcap") / _JAR
  command = [java, "-cp", str(jar), _CLASS, "-preserveLines", "-lowerCase"]
  done = subprocess.run(
    [*command, "-encoding", "utf-8"],
    input="\n".join(lines).encode(),
    capture_output=True,
    check=False,
  )
  found = done.stdout.decode().split("\n")[: len(lines)]
  if done.returncode or len(found) < len(lines):
    raise ValueError(
      f"captions: the tokeniser failed ({' '.join(command)}): "
      f"{done.stderr.decode(errors='replace').strip()[-300:]}"
    )
  return [line.rstrip() for line in found]


def rule_tokens(text: str) -> list[str]:
  """Our rules: words, numbers and marks of a caption, in lower case."""
  tokens = []
  for token in _TOKEN.findall(text.translate(_QUOTES).lower()):
    tokens += _PARTS.get(token, _BRACKETS.get(token, token)).split()
  return tokens
