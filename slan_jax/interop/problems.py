"""Why a file of weights cannot be loaded, and what to do about it."""

Faults = dict[str, list[str]]  # kind of fault -> names, with shapes

_LISTED = 12  # names per kind of fault

# Substring of a message -> advice for the commonest mismatches.
_ADVICE = {
  "word_embeddings": "the vocabularies differ: use the tokenizer that came "
  "with the file",
  "running_mean": "the file has batch-norm statistics: set "
  "model.backbone.norm=frozen_batch",
  "pos": "the position tables differ: set the same length or image size, or "
  "ask for resizing (vision transformers: init_from.resize_positions)",
}


class LoadError(ValueError):
  """A file of weights that cannot be loaded; the message says why."""


def raise_for(faults: Faults, source: str) -> None:
  """Raises if there is any fault, listing all kinds.

  Args:
    faults: kind -> names; empty lists are no fault.
    source: name of the file.

  Raises:
    LoadError: a list is not empty.
  """
  if not any(faults.values()):
    return
  lines = [f"{source}: does not fit the model, nothing was loaded"]
  for kind, items in faults.items():
    if items:
      more = len(items) - _LISTED
      lines.append(f"  {kind} ({len(items)}):")
      lines += [f"    {item}" for item in items[:_LISTED]]
      lines += [f"    ... and {more} more"] if more > 0 else []
  everything = "\n".join(item for items in faults.values() for item in items)
  if faults["unexpected"]:
    lines.append("  hint: init_from.ignore passes over names by their start")
  for key, advice in _ADVICE.items():
    if key in everything:
      lines.append(f"  hint: {advice}")
  raise LoadError("\n".join(lines))
