"""Image-text contrast against the batch and two queues (Eq. 5 and 6).

Axes: B batch, Q queue slots, K keys (B + Q), P channels of the embedding.
"""

from typing import Any

import jax
import jax.numpy as jnp

EMPTY = -1  # id of a queue slot that was never written
Queue = dict[str, jax.Array]


def empty_queue(size: int, width: int) -> Queue:
  """The queues I_q and T_q before any sample was visited.

  Args:
    size: slots Q; 0 gives in-batch negatives only.
    width: channels P.

  Returns:
    image, text: [Q, P] float32; image_id, text_id: [Q] int32, `EMPTY`;
    cursor: int32 scalar, the slot written next.
  """
  return {
    "image": jnp.zeros((size, width), jnp.float32),
    "text": jnp.zeros((size, width), jnp.float32),
    "image_id": jnp.full((size,), EMPTY, jnp.int32),
    "text_id": jnp.full((size,), EMPTY, jnp.int32),
    "cursor": jnp.zeros((), jnp.int32),
  }


def enqueue(queue: Queue, rows: dict[str, jax.Array]) -> Queue:
  """Overwrites the oldest slots, wrapping around: any batch size fits.

  Args:
    queue: as `empty_queue` returns it.
    rows: image, text [B, P], image_id, text_id [B] of the batch just seen.

  Returns:
    The queue with the batch (its last Q rows when B > Q) written.
  """
  size = queue["image_id"].shape[0]
  if size == 0:
    return queue
  batch = min(rows["image_id"].shape[0], size)
  slots = (queue["cursor"] + jnp.arange(batch, dtype=jnp.int32)) % size
  written = {
    name: queue[name].at[slots].set(array[-batch:].astype(queue[name].dtype))
    for name, array in rows.items()
  }
  return {**written, "cursor": (queue["cursor"] + batch) % size}


def key_bank(queue: Queue, rows: dict[str, jax.Array]) -> Queue:
  """Keys of Eq. 5: the batch's own (the positives come first), then the queue.

  Eq. 5 sums over the queue alone; the positive has to be among its terms, so
  the batch is put in front.
  """
  return {
    name: jnp.concatenate([array, queue[name].astype(array.dtype)])
    for name, array in rows.items()
  }


def contrastive_loss(
  query: jax.Array,
  keys: jax.Array,
  *,
  temperature: jax.Array,
  ignored: jax.Array,
  soft_targets: float,
  teacher: jax.Array | None = None,
  matches: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """One direction of Eq. 6, -log p, with row i's positive at key i.

  Args:
    query: [B, P] float32, unit length.
    keys: [K, P] float32, unit length, K >= B.
    temperature: tau of Eq. 5.
    ignored: [B, K] bool, keys that are no negatives of the row (empty slots,
      another caption of the same image); the positive is never ignored.
    soft_targets: ALBEF's alpha; 0 is the hard target of Eq. 6.
    teacher: [B, P], the EMA encoder's queries, needed when alpha > 0.
    matches: [B, K] bool, further positives: all of a row share the target
      evenly, as ALBEF fine-tunes retrieval; None = key i alone.

  Returns:
    Sum over the batch and count, float32 scalars.
  """
  rows = query.shape[0]
  positive = jnp.eye(rows, keys.shape[0], dtype=bool)
  if matches is not None:
    positive |= matches
  hidden = ignored & ~positive

  def log_softmax(features: jax.Array) -> jax.Array:
    logits = jnp.einsum("bp,kp->bk", features, keys) / temperature
    return jax.nn.log_softmax(jnp.where(hidden, -1e9, logits), axis=-1)

  target = positive.astype(jnp.float32)
  target /= jnp.sum(target, axis=-1, keepdims=True)
  if soft_targets > 0:
    guess = jnp.exp(jax.lax.stop_gradient(log_softmax(teacher)))
    target = soft_targets * guess + (1 - soft_targets) * target
  log_p = jnp.where(hidden, 0.0, log_softmax(query))
  return -jnp.sum(target * log_p), jnp.float32(rows)


def same(ids: jax.Array, key_ids: jax.Array) -> jax.Array:
  """[B, K] bool: key k carries row b's id, or is an empty slot."""
  return (ids[:, None] == key_ids[None]) | (key_ids == EMPTY)[None]


def as_rows(image: Any, text: Any, batch: dict[str, Any]) -> dict[str, Any]:
  """What a queue stores of a batch."""
  return {
    "image": image,
    "text": text,
    "image_id": batch["image_id"],
    "text_id": batch["text_id"],
  }
