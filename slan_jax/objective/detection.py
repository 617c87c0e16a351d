"""Set losses of localisation: boxes matched with regions, regions with tokens.

As DETR (Carion et al., 2020) and MDETR (Kamath et al., 2021), which the paper
leaves to the reader (4.2.6). A region's distribution has one place per token
of the text and a last one for "nothing".

Axes: B images, R regions, M boxes (some padded), N tokens. Boxes are cxcywh in
[0, 1] of the image.
"""

import jax
import jax.numpy as jnp
import optax

from slan_jax.ops import boxes as box_ops

_IMPOSSIBLE = -1e9  # finite: zero times it is zero
_WORST = 1e4  # cost of what is not finite; the matcher never ends on NaN


def token_log_probability(
  logit: jax.Array,
  candidates: jax.Array,
  nothing: jax.Array,
  saliency_logit: jax.Array,
) -> jax.Array:
  """Log probability that a region shows a token's object, or nothing named.

  p(token) = saliency * softmax over the tokens and "nothing"; whatever is left
  is p(nothing): a region is empty, or what it shows is not in this text.

  Args:
    logit: [B, R, N] similarity of regions and tokens.
    candidates: [B, N] bool, tokens that can be shown.
    nothing: scalar, the logit of a region whose object the text does not name.
    saliency_logit: [B, R].

  Returns:
    [B, R, N + 1] float32, whose exponentials sum to 1.
  """
  logit = jnp.where(candidates[:, None], logit.astype(jnp.float32), _IMPOSSIBLE)
  last = jnp.broadcast_to(nothing.astype(jnp.float32), (*logit.shape[:2], 1))
  named = jax.nn.log_softmax(jnp.concatenate([logit, last], axis=-1), axis=-1)
  saliency_logit = saliency_logit.astype(jnp.float32)
  salient = jax.nn.log_sigmoid(saliency_logit)
  tokens = jnp.maximum(named[..., :-1] + salient[..., None], _IMPOSSIBLE)
  empty = jnp.logaddexp(
    jax.nn.log_sigmoid(-saliency_logit), salient + named[..., -1]
  )
  return jnp.concatenate([tokens, empty[..., None]], axis=-1)


def match_cost(
  probability: jax.Array,
  boxes: jax.Array,
  token_target: jax.Array,
  target: jax.Array,
  *,
  tokens: float,
  l1: float,
  giou: float,
) -> jax.Array:
  """Cost of giving each box to each region, as MDETR's matcher.

  Args:
    probability: [B, R, N] of each token.
    boxes: [B, R, 4] of the regions.
    token_target: [B, M, N] float, the distribution over tokens of each box.
    target: [B, M, 4] the boxes.
    tokens: weight of the negative expected probability.
    l1: weight of the L1 distance.
    giou: weight of the negative generalised IoU.

  Returns:
    [B, R, M] float32 without gradient; finite.
  """
  boxes, target = boxes.astype(jnp.float32), target.astype(jnp.float32)
  shown = jnp.einsum("brn,bmn->brm", probability, token_target)
  far = jnp.sum(jnp.abs(boxes[:, :, None] - target[:, None]), axis=-1)
  overlap = box_ops.pairwise_giou(
    box_ops.cxcywh_to_xyxy(boxes), box_ops.cxcywh_to_xyxy(target)
  )
  cost = l1 * far - tokens * shown - giou * overlap
  cost = jnp.nan_to_num(cost, nan=_WORST, posinf=_WORST, neginf=-_WORST)
  return jax.lax.stop_gradient(cost)


def match_boxes(cost: jax.Array, exists: jax.Array) -> jax.Array:
  """The cheapest assignment of boxes to regions, one region a box.

  Padded boxes cost every region the same: they take what is left over and
  change nothing for the others.

  Args:
    cost: [B, R, M] finite.
    exists: [B, M] bool, boxes that are not padding.

  Returns:
    [B, M, R] float32, 1 where a box has its region; zeros for padding.

  Raises:
    ValueError: more boxes than regions.
  """
  _, regions, count = cost.shape
  if count > regions:
    raise ValueError(
      f"{count} boxes per image cannot be matched with {regions} regions: "
      "raise model.detector.queries or lower the number of boxes"
    )
  cost = jnp.where(exists[:, None], cost, 0.0)

  def assign(cost: jax.Array) -> jax.Array:
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(count, jnp.int32).at[columns].set(rows.astype(jnp.int32))

  chosen = jax.nn.one_hot(jax.vmap(assign)(cost), regions)
  return jnp.where(exists[..., None], chosen, 0.0)


def soft_token_loss(
  log_probability: jax.Array,
  token_target: jax.Array,
  matched: jax.Array,
  *,
  nothing: float,
) -> jax.Array:
  """Cross entropy of every region with the tokens of its box, as MDETR.

  Args:
    log_probability: [B, R, N + 1], "nothing" last.
    token_target: [B, M, N] float, the distribution over tokens of each box.
    matched: [B, M, R] of `match_boxes`.
    nothing: weight of a region without a box.

  Returns:
    [B] float32, sum over regions; the peers divide by the number of boxes.
  """
  wanted = jnp.einsum("bmr,bmn->brn", matched, token_target)
  free = 1.0 - jnp.sum(matched, axis=1)
  named = jnp.sum(wanted * log_probability[..., :-1], axis=-1)
  empty = nothing * free * log_probability[..., -1]
  return -jnp.sum(named + empty, axis=-1)


def box_losses(
  boxes: jax.Array, target: jax.Array, matched: jax.Array
) -> dict[str, jax.Array]:
  """L1 and 1 - GIoU between the boxes and their regions.

  Args:
    boxes: [B, R, 4] of the regions.
    target: [B, M, 4] the boxes.
    matched: [B, M, R] of `match_boxes`.

  Returns:
    `l1` and `giou`: [B] float32, sums over the boxes of an image.
  """
  exists = jnp.sum(matched, axis=-1)
  # Padding may hold anything: there both sides become the same box.
  there = exists[..., None] > 0
  target = jnp.where(there, target.astype(jnp.float32), 0.0)
  mine = jnp.einsum("bmr,brc->bmc", matched, boxes.astype(jnp.float32))
  overlap = box_ops.giou(
    box_ops.cxcywh_to_xyxy(mine), box_ops.cxcywh_to_xyxy(target)
  )
  return {
    "l1": jnp.sum(jnp.abs(mine - target), axis=(1, 2)),
    "giou": jnp.sum((1.0 - overlap) * exists, axis=-1),
  }
