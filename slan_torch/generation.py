"""Captions and answers from the text decoder: greedy, or by beams.

For a caption the locator's text is the prompt, and the decoder looks at V's
cells and the adapted regions E_L^G. Axes: B images, K beams, N tokens,
V vocabulary.
"""

import torch
from torch import Tensor


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
    self,
    images: Tensor,
    *,
    prompt: list[int] | None = None,
    beams: int = 1,
    longest: int = 20,
    shortest: int = 1,
  ) -> Tensor:
    """Writes captions.

    Args:
      images: as `encode_image` takes them.
      prompt: token ids that every caption begins with, without [CLS] and
        [SEP].
      beams: K; 1 = greedy.
      longest: tokens at most, prompt and marks not counted.
      shortest: tokens at least.

    Returns:
      [B, n] token ids after the prompt, [PAD] behind the end; of the beam with
      the best mean log probability.
    """
    marks, prompt = self.config.token_ids, list(prompt or ())
    image = self.encode_image(images)
    ids = self._row([marks.cls, *prompt, marks.sep], len(images))
    located = self.locate(image, self.encode_text(ids, torch.ones_like(ids)))
    states = self.caption_states(image, located.regions)
    return self._write(states, prompt, beams, longest, shortest)

  @torch.no_grad()
  def answer(
    self,
    images: Tensor,
    ids: Tensor,
    mask: Tensor,
    *,
    beams: int = 3,
    longest: int = 10,
    shortest: int = 1,
  ) -> Tensor:
    """Answers a question about each image, in any words (section 4.2.3).

    The decoder looks at E_L^T and E_L^G, what the locator makes of the question
    and of the regions.

    Args:
      images: as `encode_image` takes them.
      ids: [B, N], the questions.
      mask: bool [B, N], real tokens.
      beams: K; 1 = greedy.
      longest: tokens at most.
      shortest: tokens at least.

    Returns:
      [B, n] token ids, [PAD] behind the end.
    """
    image, text = self.encode_image(images), self.encode_text(ids, mask)
    located = self.locate(image, text)
    states = (
      torch.cat([located.words, located.regions.to(located.words.dtype)], 1),
      torch.cat([text.mask, image.regions["mask"]], 1),
    )
    return self._write(states, [], beams, longest, shortest)

  def _write(
    self,
    states: tuple[Tensor, Tensor],
    prompt: list[int],
    beams: int,
    longest: int,
    shortest: int,
  ) -> Tensor:
    """The best text behind a prompt: [B, n] token ids, [PAD] behind the end."""
    marks, count = self.config.token_ids, len(states[0])
    states, mask = (x.repeat_interleave(beams, 0) for x in states)
    search = _Beams(count, beams, marks, states.device)
    ids, cache = self._row([marks.cls, *prompt], count * beams), None
    for step in range(longest):
      hidden, cache = self.generator.extend(ids, states, mask, cache)
      table = self.generator.embeddings.word.weight
      logits = self.language_head(hidden[:, -1], table)
      ids, source = search.advance(logits, may_end=step >= shortest)
      cache = [tuple(x[source] for x in layer) for layer in cache]
      if search.done:
        break
    return search.best()

  def _row(self, ids: list[int], count: int) -> Tensor:
    device = self.matching.weight.device
    return torch.tensor([ids], device=device).expand(count, -1)


class _Beams:
  """The hypotheses of every image, and how they grow by a token."""

  def __init__(self, count: int, beams: int, marks, device: torch.device):
    self._marks, self._beams = marks, beams
    # All beams begin alike: only the first counts in the first step.
    start = torch.full((count, beams), -torch.inf, device=device)
    start[:, 0] = 0.0
    self._score, self._ended = start, torch.zeros_like(start, dtype=torch.bool)
    self._tokens = torch.zeros(count, beams, 0, dtype=torch.long, device=device)

  @property
  def done(self) -> bool:
    """Whether every hypothesis has come to its end."""
    return bool(self._ended.all())

  def advance(self, logits: Tensor, may_end: bool) -> tuple[Tensor, Tensor]:
    """Takes the best continuations.

    Args:
      logits: [B * K, V] of the next token.
      may_end: whether [SEP] may come now.

    Returns:
      The next tokens [B * K, 1], and the row that each goes on from [B * K].
    """
    marks, words = self._marks, logits.shape[-1]
    logits[:, [marks.pad, marks.cls, marks.mask, marks.unk]] = -torch.inf
    if not may_end:
      logits[:, marks.sep] = -torch.inf
    step = logits.log_softmax(-1).unflatten(0, self._score.shape)
    # What has ended goes on with [PAD] at no cost.
    step = step.masked_fill(self._ended[..., None], -torch.inf)
    step[..., marks.pad].masked_fill_(self._ended, 0.0)
    total = (self._score[..., None] + step).flatten(1)
    self._score, index = total.topk(self._beams)
    source, token = index // words, index % words
    self._ended = self._ended.gather(1, source) | (token == marks.sep)
    length = self._tokens.shape[-1]
    history = source[..., None].expand(-1, -1, length)
    past = self._tokens.gather(1, history)
    self._tokens = torch.cat([past, token[..., None]], -1)
    first = torch.arange(len(source), device=source.device) * self._beams
    return token.view(-1, 1), (source + first[:, None]).flatten()

  def best(self) -> Tensor:
    """The hypothesis with the best mean log probability, [SEP] as [PAD]."""
    marks = self._marks
    length = (self._tokens != marks.pad).sum(-1).clamp(min=1)
    best = (self._score / length).argmax(-1)[:, None, None]
    tokens = self._tokens.take_along_dim(best, 1)[:, 0]
    return tokens.masked_fill(tokens == marks.sep, marks.pad)
