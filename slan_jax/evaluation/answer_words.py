"""Answers to questions in the form in which VQA's official score compares them.

The rules are those of the evaluation script of GT-Vision-Lab/VQA, as corrected
in March 2021, with its quirks: what does not look right here is theirs.
"""

import re

# Marks that go: without a trace where a space is beside one of their kind, or
# a comma stands between digits anywhere in the answer; else for a space.
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32  # the script passes a flag where re takes a count
_NUMBERS = {"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3"}
_NUMBERS |= {"four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8"}
_NUMBERS |= {"nine": "9", "ten": "10"}
_ARTICLES = ("a", "an", "the")
# A word that lacks one of its apostrophes is given it back.
_APOSTROPHES = """
  'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't
  don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll how's
  isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't
  needn't not've o'clock oughtn't shan't she'd've should've shouldn't
  shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
  someone'll someone's something'd something'd've something'll that's there'd
  there'd've there're there's they'd they'd've they'll they're they've wasn't
  we'd've we've weren't what'll what're what's what've when's where'd where's
  where've who'd who'd've who'll who's who've why'll why're why's won't would've
  wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're
  you've
""".split()  # noqa: SIM905
_REPAIRED = {
  word[:place] + word[place + 1 :]: word
  for word in _APOSTROPHES
  for place, letter in enumerate(word)
  if letter == "'"
} | {"somebody'd": "somebodyd"}


def clean_answer(answer: str) -> str:
  """An answer without breaks and outer spaces, as all are compared."""
  return answer.replace("\n", " ").replace("\t", " ").strip()


def normal_answer(answer: str) -> str:
  """An answer as it is compared where people disagree.

  Args:
    answer: Of `clean_answer`.

  Returns:
    Lower case without marks and articles, small numbers as digits.
  """
  words = [
    _NUMBERS.get(word, word) for word in _without_marks(answer).lower().split()
  ]
  kept = [word for word in words if word not in _ARTICLES]
  return " ".join(_REPAIRED.get(word, word) for word in kept)


def _without_marks(text: str) -> str:
  number = _COMMA_IN_NUMBER.search(text) is not None
  result = text
  for mark in _MARKS:
    bare = number or f"{mark} " in text or f" {mark}" in text
    result = result.replace(mark, "" if bare else " ")
  return _PERIOD.sub("", result, count=_MOST_PERIODS)
