import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.tasks.microbatch import microbatched


def test_parts_give_the_gradient_of_the_whole():
  weights = jax.random.normal(jax.random.key(0), (3, 5))
  rows = jax.random.normal(jax.random.key(1), (8, 3))

  def contrast(weights, parts):
    def encode(rows):
      return {"embedding": jnp.tanh(rows @ weights)}

    embedding = microbatched(encode, parts)(rows)["embedding"]
    # Every row meets every other, as in the contrastive loss.
    return jax.nn.logsumexp(embedding @ embedding.T)

  whole, gradient = jax.value_and_grad(contrast)(weights, 1)
  for parts in (2, 4, 8):
    value, other = jax.value_and_grad(contrast)(weights, parts)
    np.testing.assert_allclose(value, whole, rtol=1e-6)
    np.testing.assert_allclose(other, gradient, rtol=1e-5, atol=1e-6)
