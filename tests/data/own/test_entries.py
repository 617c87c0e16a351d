import pytest
from etils import epath

from data.errors import PreparationError
from data.own.entries import entries


def read(path, text=None):
  if text is not None:
    path.write_bytes(text.encode())
  problems = []
  return list(entries(epath.Path(path), problems)), problems


def test_json_lines_name_the_broken_ones(tmp_path):
  text = '\ufeff{"image": "a"}\n\n{"image": \n[1]\r\n{"image": "b\u2028c"}'
  found, problems = read(tmp_path / "x.jsonl", text)
  assert found == [
    ("x.jsonl:1", {"image": "a"}),
    ("x.jsonl:5", {"image": "b\u2028c"}),
  ]
  assert problems == [
    ("line is not JSON", "x.jsonl:3"),
    ("line is not a JSON object", "x.jsonl:4"),
  ]


def test_one_bad_line_costs_itself_alone(tmp_path):
  (tmp_path / "x.jsonl").write_bytes(
    b'{"image": "caf\xe9"}\n{"image": "a"}\n' + b"[" * 100_000
  )
  found, problems = read(tmp_path / "x.jsonl")
  assert found == [("x.jsonl:2", {"image": "a"})]
  assert problems == [
    ("line is not UTF-8", "x.jsonl:1"),
    ("line is not JSON", "x.jsonl:3"),
  ]


def test_a_table_has_a_head_line(tmp_path):
  text = 'caption,image,note\r\n"a dog, two\r\ncats",a.jpg,x\r\n\r\na,b.jpg\r\n'
  found, problems = read(tmp_path / "x.csv", text)
  assert found == [
    ("x.csv:3", {"caption": "a dog, two\r\ncats", "image": "a.jpg"})
  ]
  assert problems == [("line has not 3 columns", "x.csv:5")]
  found, _ = read(tmp_path / "x.tsv", "image\tcaption\tsplit\na\ta, b\tval\n")
  assert found[0][1] == {"image": "a", "caption": "a, b", "split": "val"}


@pytest.mark.parametrize("text", ["", "a.jpg,a dog\n", "image,text\n"])
def test_a_table_without_names_is_refused(tmp_path, text):
  with pytest.raises(PreparationError, match="image and caption"):
    read(tmp_path / "x.csv", text)


def test_a_folder_of_pictures_with_texts(tmp_path):
  for name in ("b.JPG", "deep/a.png", "mute.jpg", "odd.jpg", "notes.pdf"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  (tmp_path / "b.txt").write_text("a dog\n\na cat\n")
  (tmp_path / "deep" / "a.txt").write_text("a cow")
  (tmp_path / "odd.txt").write_bytes(b"\xff\xfe")
  found, problems = read(tmp_path)
  assert found == [
    ("b.JPG", {"image": "b.JPG", "captions": ["a dog", "a cat"]}),
    ("deep/a.png", {"image": "deep/a.png", "captions": ["a cow"]}),
  ]
  assert problems == [
    ("no text file of the same name", "mute.jpg"),
    ("text file is not UTF-8", "odd.jpg"),
  ]


def test_a_missing_file_is_refused(tmp_path):
  with pytest.raises(PreparationError, match="cannot be read"):
    read(tmp_path / "none.jsonl")
