"""A user's pictures and texts: answers as JSON lines, errors as sentences."""

import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from configs import pretrain
from data.vocabulary import words_tokenizer
from slan_jax.evaluation.calibration import Calibration
from slan_jax.input.errors import InputError
from slan_jax.interop import export
from slan_jax.interop.exported import is_export
from slan_jax.interop.problems import LoadError
from slan_jax.jobs import predict, questions
from slan_jax.jobs.answers import Answers
from slan_jax.jobs.model_directory import read_trained
from slan_jax.jobs.predictor import Predictor
from slan_torch import Processor, SLANModel
from tests.slan_torch import pair

WORDS = (
  "a",
  "red",
  "circle",
  "above",
  "blue",
  "square",
  "the",
  "detect",
  ":",
  ",",
)
WRITE = {"beams": 2, "shortest": 3, "longest": 5, "repetition_penalty": 1.5}
TEXT = "a red circle above the blue square"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  """An export of the small model with a tokenizer of a few words."""
  directory = tmp_path_factory.mktemp("model")
  tokenizer = words_tokenizer(WORDS)
  cfg = pair.config(
    "scenes",
    model__text__vocab_size=tokenizer.get_vocab_size(),
    model__text__layers=1,
    model__adaptor__levels=1,
  )
  training = json.loads(json.dumps(pretrain.get_config("scenes").to_dict()))
  for section in ("captioning", "vqa"):
    training[section]["write"] |= WRITE
  trained = export.Trained(
    model=cfg,
    params=pair.params(cfg),
    tokenizer=tokenizer.to_str(),
    token_ids=pair.TOKENS,
    max_length=12,
    captions=True,
    card="",
    training=training,
    prompt=(tokenizer.token_to_id("a"),),
  )
  export.write_companions(directory, trained, "float32")
  export.write_weights(directory, trained, "float32")
  return directory


@pytest.fixture(scope="module")
def predictor(model):
  """One for all tests: what is compiled stays compiled."""
  return Predictor(read_trained(model, "last"), batch=4, progress=False)


@pytest.fixture
def pictures(tmp_path):
  rng = np.random.default_rng(0)
  folder = tmp_path / "pictures"
  (folder / "more").mkdir(parents=True)
  for name in ("a.png", "b.jpg", "more/c.png"):
    array = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(array).save(folder / name)
  return folder


def ask(predictor, monkeypatch, capsys, verb, *given, source="m"):
  answers = Answers(predictor, source)
  monkeypatch.setattr(Answers, "open", lambda *_, **__: answers)
  arguments = [*map(str, (verb, *given)), "--model", "m"]
  assert predict.predict(questions.parser().parse_args(arguments)) == 0
  out, err = capsys.readouterr()
  return [json.loads(line) for line in out.splitlines()], err


def test_scores_are_those_of_torch(
  model, predictor, pictures, monkeypatch, capsys
):
  """The whole way, pixels and words included, in both frameworks."""
  paths = [pictures / "a.png", pictures / "b.jpg"]
  lines, _ = ask(
    predictor, monkeypatch, capsys, "score",
    "--image", *paths, "--text", TEXT, "a circle",
  )  # fmt: skip
  assert [(x["image"], x["text"]) for x in lines] == [
    (str(path), text) for path in paths for text in (TEXT, "a circle")
  ]
  twin = SLANModel.from_pretrained(model)
  processor = Processor.from_pretrained(model)
  # PNG alone: decoders of JPEG differ by a step of grey.
  images = twin.encode_image(processor.images(paths[:1]))
  texts = twin.encode_text(*processor.texts([TEXT]))
  assert abs(twin.itc(images, texts).item() - lines[0]["itc"]) < 1e-5
  match = twin.itm(images, texts).sigmoid().item()
  assert abs(match - lines[0]["match"]) < 1e-5


def test_one_picture_is_computed_once(predictor, pictures):
  for count, rows in ((1, 1), (2, 4)):
    paths = [pictures / "a.png", pictures / "b.jpg"][:count]
    assert predictor.file_chunks(paths).states(0).embedding.shape[0] == rows


def test_parameters_of_another_model_are_named(
  predictor, pictures, monkeypatch, capsys
):
  params = {"slan": dict(predictor.trained.params["slan"])}
  del params["slan"]["text_projection"]
  for width, message in ((None, "text_projection"), (3, "shape")):
    if width:
      kernel = np.zeros((width, width), np.float32)
      params["slan"]["text_projection"] = {"kernel": kernel}
    monkeypatch.setattr(predictor, "params", params)
    given = ("--image", pictures / "a.png", "--text", TEXT)
    with pytest.raises(ValueError, match=f"(?s)of another model.*{message}"):
      ask(predictor, monkeypatch, capsys, "score", *given)


def test_retrieval_keeps_what_it_encoded(
  predictor, pictures, monkeypatch, capsys
):
  def find(*more):
    given = ("--images", pictures, "--text", TEXT, "blue square", *more)
    return ask(predictor, monkeypatch, capsys, "retrieve", *given)[0]

  encoded = []
  whole = predictor.embeddings

  def embeddings(chunks):
    encoded.append([path.name for path in chunks._images._paths])
    return whole(chunks)

  monkeypatch.setattr(predictor, "embeddings", embeddings)
  first = find("--top", 2)
  assert [(x["text"], x["rank"]) for x in first] == [
    (TEXT, 1), (TEXT, 2), ("blue square", 1), ("blue square", 2),
  ]  # fmt: skip
  assert first[0]["match"] >= first[1]["match"]
  assert find("--top", 2) == first
  assert encoded == [["a.png", "b.jpg", "c.png"]]

  (pictures / "b.jpg").unlink()
  Image.new("RGB", (30, 30), "red").save(pictures / "d.png")
  (pictures / "e.png").write_bytes(b"no picture")
  later = find()
  assert encoded[1:] == [["d.png"]]
  names = {line["image"].rsplit("/", 1)[1] for line in later}
  assert names == {"a.png", "c.png", "d.png"}

  # Only as many as asked for are looked at again; the rest follow by ITC.
  one = [x for x in find("--rerank", 1) if x["text"] == TEXT]
  assert one[0]["match"] is not None and one[1]["match"] is None
  assert one[0]["itc"] >= one[1]["itc"] >= one[2]["itc"]


def test_phrases_are_boxed_and_drawn(
  predictor, pictures, tmp_path, monkeypatch, capsys
):
  given = ("--image", pictures / "a.png", "--text", TEXT)
  drawn = tmp_path / "drawn.png"
  lines, _ = ask(
    predictor, monkeypatch, capsys, "ground", *given, "--draw", drawn
  )
  assert [line["phrase"] for line in lines] == ["red circle", "blue square"]
  for line in lines:
    assert TEXT[line["start"] : line["end"]] == line["phrase"]
    left, top, right, bottom = line["box"]
    assert 0 <= left < right <= 60 and 0 <= top < bottom <= 40
  with Image.open(drawn) as picture:
    assert picture.size[0] > 300
  lines, _ = ask(
    predictor, monkeypatch, capsys, "ground", *given, "--phrase", "Blue"
  )
  assert [line["phrase"] for line in lines] == ["blue"]
  with pytest.raises(FileExistsError, match="--force"):
    ask(predictor, monkeypatch, capsys, "ground", *given, "--draw", drawn)


def test_what_learned_from_boxes_scores_as_it_learned(predictor, pictures):
  """As slan-eval does: "nothing" that is near to all silences the phrases."""
  trained = predictor.trained
  head = {"temperature": np.float32(0.1), "nothing": np.float32(9.0)}
  tuned = Predictor(
    trained._replace(
      params=trained.params | {"localisation": head},
      training=trained.training | {"task": "grounding"},
    ),
    batch=4,
    progress=False,
  )
  path, words = pictures / "a.png", predictor.words([TEXT])
  plain, silent = (p.ground(path, words) for p in (predictor, tuned))
  assert plain["scores"].max() > 1e-3 > silent["scores"].max()
  assert silent["region_mask"].all()  # the filter of pre-training is off


@pytest.mark.parametrize("number", (1, 4, 6, 7, 8, 9))
def test_figures(predictor, pictures, tmp_path, monkeypatch, capsys, number):
  drawn = tmp_path / "drawn.png"
  texts = [TEXT] if number == 1 else [TEXT, "a red square"]
  images = [pictures if number == 8 else pictures / "a.png"]
  more = ["--right", pictures / "b.jpg", images[0] / "a.png"]
  more = more if number == 8 else ["--against", "m"] if number == 9 else []
  (line,), _ = ask(
    predictor, monkeypatch, capsys, "figure", number, "--images", *images,
    "--text", *texts, "--draw", drawn, *more,
  )  # fmt: skip
  assert line == {"figure": number, "picture": str(drawn)}
  with Image.open(drawn) as picture:
    assert np.asarray(picture).std() > 10


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ((5,), "export knows nothing"),
    ((5, "--images", "a.png"), "needs --images and --text"),
    ((6, "--labels", "a"), "belongs to figure 1"),
    ((9, "--right", "a.png"), "belongs to figure 8"),
    ((8, "--images", ".", "more", "--text", TEXT), "searches one folder"),
    ((6, "--text", TEXT), "needs --images"),
    ((6, "--images", "a.png", "a.png", "--text", TEXT), "one text for each"),
    ((4, "--against", "m"), "one model alone"),
    (
      (8, "--images", ".", "--text", TEXT, "--right", "no.png"),
      "no picture of",
    ),
    ((1, "--images", "a.png", "a.png", "--text", TEXT), "one image with one"),
  ],
)
def test_figures_say_what_they_lack(
  model, predictor, pictures, monkeypatch, capsys, given, message
):
  monkeypatch.chdir(pictures)
  before = sorted(pictures.rglob("*"))
  with pytest.raises((ValueError, InputError), match=message):
    ask(
      predictor, monkeypatch, capsys, "figure", *given, "--draw", "drawn.png",
      source=model,
    )  # fmt: skip
  left = set(pictures.rglob("*")) - set(before)
  assert {path.name for path in left} <= {".slan_index.npz"}


def test_captions_and_answers(
  model, predictor, pictures, monkeypatch, capsys, caplog
):
  """By the run's own recipe, as its export writes them in PyTorch."""
  path, questions = pictures / "a.png", ["the red circle", "a square"]
  given = ("--image", path)
  (caption,), _ = ask(predictor, monkeypatch, capsys, "caption", *given)
  lines, _ = ask(
    predictor, monkeypatch, capsys, "ask", *given, "--question", *questions
  )
  assert "never on questions" in caplog.text
  assert [line["question"] for line in lines] == questions
  twin = SLANModel.from_pretrained(model)
  processor = Processor.from_pretrained(model)
  images = processor.images([path])
  row = twin.caption(images)
  prompt = torch.tensor([predictor.trained.prompt])
  (wanted,) = processor.decode(torch.cat([prompt, row], 1))
  assert caption == {"image": str(path), "caption": wanted}
  assert prompt.numel() and wanted.startswith("a")
  assert WRITE["shortest"] <= (row != 0).sum() <= WRITE["longest"]
  for line in lines:
    row = twin.answer(images, *processor.texts([line["question"]]))
    assert line["answer"] == processor.decode(row)[0] and line["answer"]


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (("--longest", 2), "shortest=3, longest=2"),
    (("--top_p", 0.5), "top_p=0.5 belongs to search=nucleus"),
    (("--search", "nucleus", "--beams", 2), "beams=2 belongs to search=beam"),
    (("--repetition_penalty", 0), "repetition_penalty=0"),
  ],
)
def test_what_is_given_replaces_the_recipe(
  predictor, pictures, monkeypatch, capsys, given, message
):
  for verb, more in (("caption", ()), ("ask", ("--question", "a"))):
    with pytest.raises(ValueError, match=message):
      ask(
        predictor, monkeypatch, capsys, verb, "--image", pictures / "a.png",
        *more, *given,
      )  # fmt: skip


def test_a_decoder_writes_what_it_learned(
  predictor, pictures, monkeypatch, capsys
):
  untrained = predictor.trained._replace(captions=False)
  monkeypatch.setattr(predictor, "trained", untrained)
  asked, given = ("--question", "a"), ("--image", pictures / "a.png")
  for verb, more in (("caption", ()), ("ask", asked)):
    with pytest.raises(ValueError, match=r"text decoder .*configs/finetune"):
      ask(predictor, monkeypatch, capsys, verb, *given, *more)
  tuned = untrained._replace(training=untrained.training | {"task": "vqa"})
  monkeypatch.setattr(predictor, "trained", tuned)
  with pytest.raises(ValueError, match="never learned captions"):
    ask(predictor, monkeypatch, capsys, "caption", *given)
  wrong = ("--longest", 2)  # reaches the recipe: it may answer
  with pytest.raises(ValueError, match="shortest=3"):
    ask(predictor, monkeypatch, capsys, "ask", *given, *asked, *wrong)


def test_named_things_are_boxed(
  model, predictor, pictures, tmp_path, monkeypatch, capsys
):
  path, drawn = pictures / "a.png", tmp_path / "drawn.png"
  given = ("--image", path, "--share", 0, "--labels")
  lines, _ = ask(
    predictor, monkeypatch, capsys, "detect", *given, "red_circle,square",
    "--draw", drawn, "--most", 3,
  )  # fmt: skip
  assert len(lines) == 3 and drawn.stat().st_size > 5000
  scores = [line["score"] for line in lines]
  assert scores == sorted(scores, reverse=True)
  twin = SLANModel.from_pretrained(model)
  processor = Processor.from_pretrained(model)
  with torch.no_grad():
    found = twin.detect(
      processor.images([path]), processor.prompts(["red_circle", "square"])
    )
  assert abs(float(found["scores"].max()) - scores[0]) < 1e-5
  for labels, message in (
    ("a,,b", "empty"),
    ("square,Square", "same words"),
    ("кот", "no word"),
    (" ".join(["circle"] * 300), "need more than"),
  ):
    with pytest.raises(InputError, match=message):
      ask(predictor, monkeypatch, capsys, "detect", *given, labels)


@pytest.mark.parametrize(
  ("text", "message"), [("  ", "empty"), ("кот", "no word of 'кот'")]
)
def test_texts_that_mean_nothing(predictor, text, message):
  with pytest.raises(InputError, match=message):
    predictor.words([TEXT, text])


def test_what_was_not_read_is_said(
  predictor, pictures, monkeypatch, capsys, caplog
):
  given = ("--image", pictures / "a.png", "--text", "red кот " + TEXT * 2)
  ask(predictor, monkeypatch, capsys, "score", *given)
  assert "1 unknown words" in caplog.text and "text cut off" in caplog.text
  assert "slan-calibrate" in caplog.text


def test_probabilities_are_calibrated_where_something_was_fitted(
  predictor, pictures, monkeypatch, capsys, caplog
):
  given = ("--image", pictures / "a.png", "--text", TEXT)
  (raw,), _ = ask(predictor, monkeypatch, capsys, "score", *given)
  monkeypatch.setattr(predictor, "calibration", Calibration(2.0, -1.0))
  caplog.clear()
  (line,), _ = ask(predictor, monkeypatch, capsys, "score", *given)
  assert not caplog.records and line["calibrated"] and not raw["calibrated"]
  assert line["itm"] == raw["itm"]
  for found, odds in ((line, 2 * raw["itm"] - 1), (raw, raw["itm"])):
    assert abs(1 / (1 + np.exp(-odds)) - found["match"]) < 1e-5


def test_a_terminal_gets_a_table(predictor, pictures, monkeypatch, capsys):
  monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
  given = ("--image", pictures / "a.png", "--text", TEXT)
  with pytest.raises(json.JSONDecodeError):
    ask(predictor, monkeypatch, capsys, "score", *given)
  lines, _ = ask(predictor, monkeypatch, capsys, "score", *given, "--json")
  assert lines[0]["text"] == TEXT


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"--image": "missing.png"}, "missing.png"),
    ({"--image": "broken.png"}, "broken.png"),
    ({"--image": "tiny.png"}, "under 8 pixels"),
    ({"--image": "huge.png"}, "over 67 megapixels"),
    ({"--draw": "broken.png/out.png"}, "no folder to write to"),
    ({"--draw": "out.jpg"}, r"ends in \.png"),
    ({"--draw": "nowhere/out.png"}, "no folder to write to"),
    ({"--phrase": "green"}, "not part of"),
  ],
)
def test_bad_input_is_named(
  predictor, pictures, monkeypatch, capsys, changes, message
):
  (pictures / "broken.png").write_bytes(b"\x89PNG broken")
  Image.new("RGB", (4, 4)).save(pictures / "tiny.png")
  size = (90_000).to_bytes(4, "big")
  header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + size + b"\x08\x02\0\0\0"
  (pictures / "huge.png").write_bytes(header)
  given = {"--image": "a.png", "--text": TEXT} | changes
  for key in ("--image", "--draw"):
    if key in given:
      given[key] = str(pictures / given[key])
  before = sorted(pictures.rglob("*"))
  with pytest.raises((ValueError, OSError, InputError), match=message):
    ask(
      predictor, monkeypatch, capsys, "ground",
      *(part for item in given.items() for part in item),
    )  # fmt: skip
  assert sorted(pictures.rglob("*")) == before


def test_exit_code_of_bad_input(tmp_path, monkeypatch, capsys):
  given = ["slan-predict", "score", "--model", str(tmp_path), "--image", "x"]
  monkeypatch.setattr(sys, "argv", [*given, "--text", "y"])
  with pytest.raises(SystemExit) as found:
    predict.main()
  assert found.value.code == 2
  assert "not the work directory" in capsys.readouterr().err


def test_a_reader_that_goes_is_no_error(monkeypatch):
  read, write = os.pipe()
  os.close(read)
  with os.fdopen(write, "w") as out:
    monkeypatch.setattr(sys, "stdout", out)
    predict._print([{"image": "a.png"}], as_table=False)


def test_options_are_named_and_none_is_passed_over(model, predictor):
  answers = Answers(predictor, model)
  with pytest.raises(InputError, match="--labels: one is empty"):
    answers.detect("a.png", ["red", ""])
  with pytest.raises(InputError, match="--question: no word"):
    answers.ask("a.png", ["\u7d05"])
  with pytest.raises(ValueError, match=r"checkpoint=best: .* is an export"):
    read_trained(model, "best")


def test_damaged_exports_are_named(model, tmp_path):
  assert is_export(model) and not is_export(tmp_path)
  values = json.loads((model / "config.json").read_text())
  del values["model"]["adaptor"]["grid"]
  (tmp_path / "config.json").write_text(json.dumps(values))
  with pytest.raises(LoadError, match=r"another version.*adaptor\.grid"):
    read_trained(tmp_path, "last")
  (tmp_path / "config.json").write_text((model / "config.json").read_text())
  with pytest.raises(LoadError, match=r"holds none of|safetensors"):
    read_trained(tmp_path, "last")
