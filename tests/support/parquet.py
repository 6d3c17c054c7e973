"""Writes Parquet files with images inside, as the hub has them."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def packed_picture(shade: int = 0) -> dict[str, Any]:
    """The cell of a small plain picture: equal shades are equal pictures."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), (shade % 256, 80, 120)).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": "image.png"}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows to a file; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
