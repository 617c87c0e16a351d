import pytest

from data.own.box import FRACTIONS
from data.own.entry import BrokenEntry, EntryReader, locate
from data.row import ObjectRow, PhraseRow


def row(**entry):
  return EntryReader().row("x.jsonl:1", {"image": "a.jpg", **entry}, "")


def test_a_whole_entry():
  made = row(
    id=7,
    captions=["a red  dog", "two cats"],
    phrases=[{"text": "a red dog", "span": [0, 10], "boxes": [[1, 2, 3, 4]]}],
    objects=[{"label": "dog", "box": [1, 2, 3, 4], "crowd": True}],
    questions=[
      {"question": "how many?", "answers": ["2", "two", "2"]},
      {"id": "q9", "question": "why?", "answer": "who knows"},
    ],
  )
  assert made.name == "7" and made.notes == ()
  assert made.captions == ("a red dog", "two cats")
  assert made.phrases == (PhraseRow("a red dog", 0, 0, 9, ((1, 2, 3, 4),)),)
  assert made.objects == (ObjectRow("dog", (1, 2, 3, 4), True),)
  assert made.questions[0].answers == {"2": 2, "two": 1}
  assert [question.id for question in made.questions] == ["x.jsonl:1#0", "q9"]


def test_one_caption_may_be_a_text():
  assert row(caption="a dog").captions == ("a dog",)
  assert row(captions="a dog").captions == ("a dog",)
  assert row(caption="a dog").name == "a.jpg"


@pytest.mark.parametrize(
  "phrase, expected",
  [
    ({"text": "dog"}, PhraseRow("dog", 0, 2, 5, ())),
    ({"text": "a cat"}, PhraseRow("a cat", 1, 0, 5, ())),
    ({"text": "a", "caption": 1}, PhraseRow("a", 1, 0, 1, ())),
    ({"text": "dog", "span": [8, 11]}, PhraseRow("dog", 0, 7, 10, ())),
    ({"text": "dog", "span": [0, 3]}, "not in its caption"),
    ({"text": "cow"}, "not in its caption"),
    ({"text": "dog", "span": [5, 2]}, "span is not"),
    ({"text": "dog", "span": "2"}, "span is not"),
    ({"text": "dog", "caption": 2}, "no caption of that number"),
    ({"text": " "}, "no text"),
    ({"text": 3}, "no text"),
  ],
)
def test_a_phrase_is_found_in_the_stored_caption(phrase, expected):
  found = locate(phrase, ["a dog,  dog", "a cat"])
  if isinstance(expected, str):
    assert expected in found
  else:
    assert found == expected


def test_parts_that_cannot_be_used_are_left_out_and_noted():
  made = row(
    captions=["a dog", " ", 3],
    objects=[
      {"label": "dog", "box": [0.1, 0.1, 0.5, 0.5]},
      {"box": [1, 1, 5, 5]},
    ],
    questions=[{"question": ""}, {"question": "why?", "answers": [""]}],
  )
  assert made.captions == ("a dog",) and made.objects == ()
  assert made.questions[0].answers == {}
  assert set(made.notes) == {
    "caption: dropped, empty",
    FRACTIONS,
    "object: dropped, no label",
    "question: dropped, no text",
    "answer: dropped, empty",
  }


def test_an_unknown_key_is_named_once():
  reader = EntryReader()
  entry = {"image": "a.jpg", "captoins": ["a dog"]}
  assert reader.row("1", entry, "").notes == ("key 'captoins' is not known",)
  assert reader.row("2", entry, "").notes == ()


@pytest.mark.parametrize(
  "entry",
  [
    {"image": ""},
    {"image": None},
    {"captions": {"a": 1}},
    {"phrases": "dog"},
    {"objects": [["dog", [1, 2, 3, 4]]]},
    {"questions": [{"question": "why?", "answers": 3}]},
    {"id": ["a"]},
    # Phrases count captions: which one is meant?
    {"captions": ["", "a dog"], "phrases": [{"text": "dog"}]},
  ],
)
def test_an_entry_of_another_form_is_refused(entry):
  with pytest.raises(BrokenEntry):
    row(**entry)
