"""Reads a source as preparation does, in this process."""

import json

from data.assembly import assemble
from data.source import Skip


def read(source):
  """Records by split and name, and what was left out, as (reason, name)."""
  records, lost = {}, []
  for split, item in source.items():
    item = json.loads(json.dumps(item))  # as it travels between processes
    for found in source.read(split, item):
      if isinstance(found, Skip):
        lost.append(tuple(found))
      else:
        record, _ = assemble(found)
        records.setdefault(split, {})[record["id"]] = record
  return records, lost


def dump(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def put(path, data):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(data)
