"""SLAN in PyTorch: reads what slan-export writes, and needs no JAX.

Each file is the twin of the one of the same name in slan_jax.models; tests hold
the two to the same numbers.
"""

from slan_torch.config import ExportError
from slan_torch.processing import Processor
from slan_torch.slan import ImageState, SLANModel, TextState

__all__ = ["ExportError", "ImageState", "Processor", "SLANModel", "TextState"]
