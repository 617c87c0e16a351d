import dataclasses
import math

import pytest

from tests.input.prepared import input_config


@pytest.mark.parametrize(
  ("change", "named"),
  [
    ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
    ({"crop_scale": (0.9, 0.5)}, "crop_scale"),
    ({"crop_scale": (0.5, 1.5)}, "crop_scale"),
    ({"image_size": 4}, "image_size"),
    ({"batch_size": 0}, "batch_size"),
    ({"hard_negatives": -1}, "hard_negatives"),
    ({"threads": 0}, "threads"),
    ({"prefetch": 0}, "prefetch"),
    ({"randaugment": (2, 11)}, "randaugment"),
    ({"randaugment": (-1, 5)}, "randaugment"),
    ({"caption": "last"}, "caption"),
    ({"mixture": (("a b", "x", 1.0),)}, "mixture"),
    ({"mixture": (("a", "x", 0.0),)}, "weights above 0"),
    ({"mixture": (("a", "x", math.inf),)}, "mixture"),
    ({"mixture": (("a", "x", 1.0), ("a", "y", 1.0))}, "each once"),
    ({"batch_size": 4, "rows": (2, 1)}, "rows"),
    ({"batch_size": 4, "rows": (3, 4)}, "ascending, below 4"),
  ],
)
def test_wrong_values_are_named(change, named):
  with pytest.raises(ValueError, match=named):
    input_config(**change)


def test_a_configuration_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    input_config().seed = 1
