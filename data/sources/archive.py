"""Samples of webdataset archives: consecutive files that share a name."""

import tarfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from data.errors import Unusable
from data.pictures import MOST_BYTES
from data.source import Skip, check_inside

_BLOCK = 512
_CHUNK = 2**20


class Sample(NamedTuple):
  """Files of one sample.

  Attributes:
    key: What their names have in common, without folders.
    files: Contents by ending, in lower case, as "jpg" or "txt".
  """

  key: str
  files: dict[str, bytes]


def read_samples(file: IO[bytes], name: str) -> Iterator[Sample | Skip]:
  """Reads an archive as far as it goes; nothing is unpacked to disk.

  Args:
    file: The archive, not compressed.
    name: What the report calls it.

  Yields:
    Samples in order, and what is left out: links, names that climb, oversized
    members, and one `tar cut short` for whatever followed a damage.
  """
  key, files = None, {}
  for found in _members(file, name):
    if isinstance(found, Skip):
      yield found
      continue
    path, data = found
    folder, _, base = path.rpartition("/")
    stem, _, ending = base.partition(".")
    if (folder, stem) != key:
      if files:
        yield Sample(key[1], files)
      key, files = (folder, stem), {}
    files[ending.lower()] = data
  if files:
    yield Sample(key[1], files)


def _members(file: IO[bytes], name: str) -> Iterator[tuple[str, bytes] | Skip]:
  try:
    archive = tarfile.TarFile(fileobj=file)
  except Exception:  # tarfile raises many kinds on damaged headers
    yield Skip("tar unreadable", name)
    return
  with archive:
    while True:
      try:
        member = archive.next()
        if member is None:
          # Also what a damaged header gives: only zeros are a true end.
          file.seek(archive.offset)
          if not _ends(file):
            yield Skip("tar cut short", name)
          return
        archive.members = []  # it would remember every one
        found = _read(archive, member)
      except Exception:
        yield Skip("tar cut short", name)
        return
      if found is not None:
        yield found


def _ends(file: IO[bytes]) -> bool:
  """Whether nothing but zeros follows, a block of them or more.

  One block of zeros may as well be a header that was blanked, or the seam of
  two archives.
  """
  length = 0
  while chunk := file.read(_CHUNK):
    length += len(chunk)
    if chunk.strip(b"\0"):
      return False
  return length >= _BLOCK


def _read(
  archive: tarfile.TarFile, member: tarfile.TarInfo
) -> tuple[str, bytes] | Skip | None:
  if member.isdir():
    return None
  try:
    check_inside(member.name)
  except Unusable:
    return Skip("path leaves the archive", member.name)
  if member.issparse() or not member.isreg():
    return Skip("link or device in the archive", member.name)
  if member.size > MOST_BYTES:
    return Skip("file over 64 MiB in the archive", member.name)
  data = archive.extractfile(member).read()
  if len(data) != member.size:
    raise tarfile.ReadError("unexpected end of data")
  return member.name, data
