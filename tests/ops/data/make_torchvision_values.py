"""Writes torchvision_roi_align.npz: inputs and outputs of torchvision.

Run in the benchmark environment, from the root of the project:

  .venv-bench/bin/python tests/ops/data/make_torchvision_values.py
"""

from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision.ops import roi_align

SIDE = 128  # pixels of the imagined image
MAP = 8  # cells of its feature map, so a spatial scale of 1 / 16
FIXED = [  # image, left, top, right, bottom in pixels
  (0, 0, 0, 128, 128),  # the whole image
  (1, -30, -20, 40, 50),  # over the left top corner
  (0, 100, 90, 170, 150),  # over the right bottom corner
  (1, 60, 60, 60.25, 60.5),  # smaller than a cell
  (0, 32, 48, 32, 48),  # a point
  (1, 140, 140, 190, 180),  # outside
]


def main() -> None:
  rng = np.random.default_rng(7)
  corners = np.sort(rng.uniform(-20, SIDE + 20, (6, 2, 2)), axis=1)
  images = rng.integers(0, 2, (6, 1))
  drawn = np.concatenate([images, corners.reshape(6, 4)], axis=1)
  rois = np.concatenate([np.array(FIXED, np.float64), drawn])
  features = rng.normal(size=(2, 3, MAP, MAP))
  values = {"feat": features, "rois": rois, "spatial_scale": MAP / SIDE}
  for ratio in (1, 2):
    for output in (1, 3, 7):
      pooled = roi_align(
        torch.from_numpy(features),
        torch.from_numpy(rois),
        output_size=output,
        spatial_scale=MAP / SIDE,
        sampling_ratio=ratio,
        aligned=True,
      )
      values[f"out_aligned1_sr{ratio}_o{output}"] = pooled.numpy()
  values["torchvision_version"] = torchvision.__version__
  values["torch_version"] = torch.__version__
  path = Path(__file__).parent / "torchvision_roi_align.npz"
  np.savez_compressed(path, **values)
  print(f"{path}: torchvision {torchvision.__version__}")


if __name__ == "__main__":
  main()
