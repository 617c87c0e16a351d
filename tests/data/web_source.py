"""Pictures with captions in the layouts that img2dataset writes."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.coco_source import encoded


def make_rows(count: int, first: int = 0, lost: tuple[int, ...] = ()):
  """Rows as img2dataset keeps them; `lost` ones failed to download."""
  rows = []
  for number in range(first, first + count):
    found = number not in lost
    rows.append(
      {
        "url": f"http://example.com/{number}.jpg",
        "caption": f"picture {number}",
        "key": f"{number:09d}",
        "status": "success" if found else "failed_to_download",
        "error_message": None if found else "HTTP Error 404: Not Found",
        "width": 40,
        "height": 30,
        "jpg": encoded(40, 30, number) if found else None,
      }
    )
  return rows


def facts(row):
  return {key: value for key, value in row.items() if key != "jpg"}


def files(row) -> dict[str, bytes]:
  """The three files of a row, by ending."""
  return {
    "jpg": row["jpg"],
    "json": json.dumps(facts(row), indent=4).encode(),
    "txt": row["caption"].encode(),
  }


def tar_bytes(members: list[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w") as archive:
    for name, data in members:
      member = name if isinstance(name, tarfile.TarInfo) else None
      if member is None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
      archive.addfile(member, io.BytesIO(data))
  return buffer.getvalue()


def row_members(rows) -> list[tuple[str, bytes]]:
  return [
    (f"{row['key']}.{ending}", data)
    for row in rows
    if row["jpg"]
    for ending, data in files(row).items()
  ]


def parquet_bytes(rows, group: int = 1_000) -> bytes:
  buffer = io.BytesIO()
  pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=group)
  return buffer.getvalue()


def write_webdataset(folder: Path, shard: str, rows) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  (folder / f"{shard}.tar").write_bytes(tar_bytes(row_members(rows)))
  table = parquet_bytes([facts(row) for row in rows])
  (folder / f"{shard}.parquet").write_bytes(table)
  (folder / f"{shard}_stats.json").write_text("{}")


def write_files(folder: Path, shard: str, rows) -> None:
  (folder / shard).mkdir(parents=True)
  for name, data in row_members(rows):
    (folder / shard / name).write_bytes(data)
  table = parquet_bytes([facts(row) for row in rows])
  (folder / f"{shard}.parquet").write_bytes(table)


def write_parquet(folder: Path, shard: str, rows) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  (folder / f"{shard}.parquet").write_bytes(parquet_bytes(rows))
