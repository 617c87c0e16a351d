"""Opens pages as a browser does: by the standard's rules, laid out and drawn.

Parsing is html5lib's, which stops at any error; layout and drawing are Blitz's,
the engine of a browser without scripts or network.
"""

import base64
import io
import re
from xml.etree.ElementTree import Element

import blitz_py
import html5lib
import numpy as np
from PIL import Image


def parse(page: str) -> Element:
  """The tree of a valid page that needs no other file."""
  builder = html5lib.getTreeBuilder("etree")
  parser = html5lib.HTMLParser(
    builder, strict=True, namespaceHTMLElements=False
  )
  tree = parser.parse(page)
  elements = list(tree.iter())
  ids = [x.attrib["id"] for x in elements if "id" in x.attrib]
  assert len(ids) == len({*ids})
  for element in elements:
    for name, value in element.attrib.items():
      if not str(name).endswith(("href", "src")):
        continue
      if value.startswith("#"):
        assert value[1:] in ids, value
      else:
        picture_of(value).load()
  assert not re.search(r"url\(|@import|<script", page)
  return tree


def picture_of(address: str) -> Image.Image:
  """The picture that a data address holds."""
  assert address.startswith("data:image/")
  return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def draw(page: str, width: int = 1200) -> np.ndarray:
  """What is seen of it, down to its end: [height, width, 3] uint8."""
  width, height, data = blitz_py.render_rgba(page, width=width)
  return np.frombuffer(data, np.uint8).reshape(height, width, 4)[..., :3]
