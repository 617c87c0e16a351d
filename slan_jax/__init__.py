"""SLAN, the self-locator aided network, in JAX and Flax."""

__version__ = "0.1.0"
