"""DETR's transformer equations in torch, to make reference numbers from."""

import numpy as np
import torch
from torch import nn

WIDTH, HEADS, MLP = 32, 4, 64


class Layer(nn.Module):
  """One layer of either side, under the names of DETR's checkpoints."""

  def __init__(self, cross: bool):
    super().__init__()
    self.self_attn = nn.MultiheadAttention(WIDTH, HEADS)
    if cross:
      self.multihead_attn = nn.MultiheadAttention(WIDTH, HEADS)
    self.linear1, self.linear2 = nn.Linear(WIDTH, MLP), nn.Linear(MLP, WIDTH)
    norms = 3 if cross else 2
    for k in range(1, norms + 1):
      setattr(self, f"norm{k}", nn.LayerNorm(WIDTH))
    self.last = getattr(self, f"norm{norms}")

  def forward(self, x, place, mask, memory=None, position=None):
    own_mask = mask if memory is None else None
    placed = x + place
    y = self.self_attn(placed, placed, x, key_padding_mask=own_mask)[0]
    x = self.norm1(x + y)
    if memory is not None:
      y = self.multihead_attn(
        x + place, memory + position, memory, key_padding_mask=mask
      )[0]
      x = self.norm2(x + y)
    return self.last(x + self.linear2(torch.relu(self.linear1(x))))


class Side(nn.Module):
  """Two layers, and the decoder's closing norm."""

  def __init__(self, cross: bool):
    super().__init__()
    self.layers = nn.ModuleList([Layer(cross), Layer(cross)])
    if cross:
      self.norm = nn.LayerNorm(WIDTH)


@torch.no_grad()
def run(seed: int = 0) -> dict[str, np.ndarray]:
  """Inputs, weights and outputs under the names of the stored reference."""
  torch.manual_seed(seed)
  model = nn.ModuleDict({"encoder": Side(False), "decoder": Side(True)})
  for array in model.parameters():
    array.add_(0.1 * torch.randn(array.shape))
  src, pos = torch.randn(2, WIDTH, 4, 5), torch.randn(2, WIDTH, 4, 5)
  query_embed = torch.randn(6, WIDTH)
  mask = torch.zeros(2, 4, 5, dtype=torch.bool)
  mask[1, :, 3:] = True
  x, place = (a.flatten(2).permute(2, 0, 1) for a in (src, pos))
  for layer in model["encoder"].layers:
    x = layer(x, place, mask.flatten(1))
  query = query_embed[:, None].repeat(1, 2, 1)
  states, y = [], torch.zeros_like(query)
  for layer in model["decoder"].layers:
    y = layer(y, query, mask.flatten(1), x, place)
    states.append(model["decoder"].norm(y).transpose(0, 1))
  weights = {k: v for k, v in model.state_dict().items() if ".last." not in k}
  values = {
    "src": src,
    "mask": mask,
    "query_embed": query_embed,
    "pos": pos,
    "hs": torch.stack(states),
    "memory": x.permute(1, 2, 0).reshape(src.shape),
    **{f"w:{name}": array for name, array in weights.items()},
  }
  return {name: array.numpy() for name, array in values.items()}
