"""Captions and answers from the text decoder: by beams, or drawn.

For a caption the locator's text is the prompt, and the decoder looks at V's
cells and the adapted regions E_L^G. Axes: B images, K beams, N tokens,
V vocabulary.
"""

import torch
from torch import Tensor

from slan_torch.config import Recipe, recipe


class Captioner:
  """What `SLANModel` gains: `caption` and `answer`."""

  def caption_states(self, image, regions: Tensor) -> tuple[Tensor, Tensor]:
    """What the decoder looks at, [B, M, D], and its mask, bool [B, M]."""
    cells = image.v.flatten(1, 2)
    mask = torch.ones(cells.shape[:2], dtype=torch.bool, device=cells.device)
    return (
      torch.cat([cells, regions.to(cells.dtype)], 1),
      torch.cat([mask, image.regions["mask"]], 1),
    )

  @torch.no_grad()
  def caption(
    self, images: Tensor, *, prompt: list[int] | None = None, **write
  ) -> Tensor:
    """Writes captions.

    Args:
      images: as `encode_image` takes them.
      prompt: token ids that every caption begins with, without [CLS] and
        [SEP]; None = as the model learned it.
      **write: in place of fields of the export's `writing.captioning`: search
        ("beam" or "nucleus"), beams (1 = greedy), top_p (nucleus), shortest
        and longest (tokens, prompt and marks not counted),
        repetition_penalty (CTRL's; 1 = none).

    Returns:
      [B, n] token ids after the prompt, [PAD] behind the end; of the beam with
      the best mean log probability.

    Raises:
      ValueError: a field that does not exist, or values that cannot be.
    """
    marks, options = self.config.token_ids, self.config.writing
    prompt = list(options.prompt if prompt is None else prompt)
    image = self.encode_image(images)
    ids = self._row([marks.cls, *prompt, marks.sep], len(images))
    located = self.locate(image, self.encode_text(ids, torch.ones_like(ids)))
    states = self.caption_states(image, located.regions)
    return self._write(states, prompt, recipe(options.captioning, write))

  @torch.no_grad()
  def answer(
    self, images: Tensor, ids: Tensor, mask: Tensor, **write
  ) -> Tensor:
    """Answers a question about each image, in any words (section 4.2.3).

    The decoder looks at E_L^T and E_L^G, what the locator makes of the question
    and of the regions.

    Args:
      images: as `encode_image` takes them.
      ids: [B, N], the questions.
      mask: bool [B, N], real tokens.
      **write: as `caption`, in place of fields of `writing.vqa`.

    Returns:
      [B, n] token ids, [PAD] behind the end.

    Raises:
      ValueError: as `caption`.
    """
    image, text = self.encode_image(images), self.encode_text(ids, mask)
    located = self.locate(image, text)
    states = (
      torch.cat([located.words, located.regions.to(located.words.dtype)], 1),
      torch.cat([text.mask, image.regions["mask"]], 1),
    )
    return self._write(states, [], recipe(self.config.writing.vqa, write))

  def _write(
    self, states: tuple[Tensor, Tensor], prompt: list[int], options: Recipe
  ) -> Tensor:
    """The best text behind a prompt: [B, n] token ids, [PAD] behind the end."""
    marks, count = self.config.token_ids, len(states[0])
    beams = options.beams if options.search == "beam" else 1
    states, mask = (x.repeat_interleave(beams, 0) for x in states)
    ids, cache = self._row([marks.cls, *prompt], count * beams), None
    search = _Beams(count, beams, marks, options, ids)
    for _ in range(options.longest):
      hidden, cache = self.generator.extend(ids, states, mask, cache)
      table = self.generator.embeddings.word.weight
      logits = self.language_head(hidden[:, -1], table)
      ids, source = search.advance(logits)
      cache = [tuple(x[source] for x in layer) for layer in cache]
      if search.done:
        break
    return search.best()

  def _row(self, ids: list[int], count: int) -> Tensor:
    device = self.matching.weight.device
    return torch.tensor([ids], device=device).expand(count, -1)


class _Beams:
  """The hypotheses of every image, and how they grow by a token."""

  def __init__(
    self, count: int, beams: int, marks, options: Recipe, prompt: Tensor
  ):
    """Opens `beams` hypotheses an image, each behind its row of `prompt`."""
    self._marks, self._options, device = marks, options, prompt.device
    # All beams begin alike: only the first counts in the first step.
    start = torch.full((count, beams), -torch.inf, device=device)
    start[:, 0] = 0.0
    self._score, self._ended = start, torch.zeros_like(start, dtype=torch.bool)
    self._tokens = torch.zeros(count, beams, 0, dtype=torch.long, device=device)
    self._prompt = prompt

  @property
  def done(self) -> bool:
    """Whether every hypothesis has come to its end."""
    return bool(self._ended.all())

  def advance(self, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Goes on by a token.

    Args:
      logits: [B * K, V] of the next token.

    Returns:
      The next tokens [B * K, 1], and the row that each goes on from [B * K].
    """
    marks, words = self._marks, logits.shape[-1]
    step = self._log_probability(logits)
    if self._options.search == "nucleus":
      token = _drawn(step, self._options.top_p)
      source = torch.zeros_like(token)
      self._score = self._score + step.gather(-1, token[..., None])[..., 0]
    else:
      total = (self._score[..., None] + step).flatten(1)
      self._score, index = total.topk(self._score.shape[1])
      source, token = index // words, index % words
    self._ended = self._ended.gather(1, source) | (token == marks.sep)
    length = self._tokens.shape[-1]
    history = source[..., None].expand(-1, -1, length)
    past = self._tokens.gather(1, history)
    self._tokens = torch.cat([past, token[..., None]], -1)
    first = torch.arange(len(source), device=source.device) * source.shape[1]
    return token.view(-1, 1), (source + first[:, None]).flatten()

  def _log_probability(self, logits: Tensor) -> Tensor:
    """Of each next token, [B, K, V]; of [PAD] alone after the end."""
    marks, options = self._marks, self._options
    written = self._tokens.flatten(0, 1)
    if options.repetition_penalty != 1.0:
      seen = torch.cat([self._prompt, written], 1)
      past = logits.gather(1, seen)
      factor = options.repetition_penalty
      worse = torch.where(past > 0, past / factor, past * factor)
      logits = logits.scatter(1, seen, worse)
    never = [marks.pad, marks.cls, marks.mask, marks.unk]
    if written.shape[1] < options.shortest:
      never.append(marks.sep)
    logits = logits.index_fill(
      1, torch.tensor(never, device=logits.device), -torch.inf
    )
    step = logits.log_softmax(-1).unflatten(0, self._score.shape)
    # What has ended goes on with [PAD] at no cost.
    step = step.masked_fill(self._ended[..., None], -torch.inf)
    step[..., marks.pad].masked_fill_(self._ended, 0.0)
    return step

  def best(self) -> Tensor:
    """The hypothesis with the best mean log probability, [SEP] as [PAD]."""
    marks = self._marks
    length = (self._tokens != marks.pad).sum(-1).clamp(min=1)
    best = (self._score / length).argmax(-1)[:, None, None]
    tokens = self._tokens.take_along_dim(best, 1)[:, 0]
    return tokens.masked_fill(tokens == marks.sep, marks.pad)


def _drawn(log_p: Tensor, top_p: float) -> Tensor:
  """One token each from the smallest set that holds `top_p`: [B, K]."""
  sorted_p, order = log_p.exp().sort(dim=-1, descending=True, stable=True)
  outside = sorted_p.cumsum(-1) - sorted_p >= top_p
  kept = sorted_p.masked_fill(outside, 0.0).flatten(0, 1)
  place = kept.multinomial(1).view(*log_p.shape[:-1], 1)
  return order.gather(-1, place)[..., 0]
