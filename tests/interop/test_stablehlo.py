"""Programs with the weights inside, read again and run on another batch."""

import numpy as np

from slan_jax.interop import stablehlo
from tests.slan_torch import pair


def test_programs_give_the_numbers_of_the_torch_model(tmp_path):
  cfg = pair.config(
    "scenes,preset=paper",
    model__text__layers=1,
    model__generator__layers=1,
    model__adaptor__levels=1,
  )
  tree = pair.params(cfg)
  stablehlo.write(tmp_path, cfg, tree, 8)
  theirs = pair.run_torch(pair.torch_model(cfg, tree))
  one = slice(1, 2)  # any batch will do: it is symbolic
  images, ids, mask = (x[one] for x in pair.inputs(cfg))
  logits = theirs["itm_logits"][one]
  wanted = {
    "image_tower": ((images,), theirs["image_embedding"][one]),
    "text_tower": ((ids, mask), theirs["text_embedding"][one]),
    "pair_scorer": ((images, ids, mask), logits[:, 1] - logits[:, 0]),
  }
  files = {path.stem: path for path in tmp_path.glob("*.stablehlo")}
  assert set(files) == set(wanted)
  for name, (inputs, value) in wanted.items():
    found = stablehlo.read(files[name])(*inputs)
    np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
