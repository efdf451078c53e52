"""Data in the page: gzip-compressed and base64-coded, so that no title can end a script or make the page large."""

import base64
import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

# Compression levels: plotly's script is large, and a higher level takes time that every night would pay.
_SCRIPT_LEVEL, _DATA_LEVEL = 6, 6


def packed(content: bytes, level: int = _DATA_LEVEL) -> str:
    """The content as base64 of gzip; the same bytes for the same content."""
    return base64.b64encode(gzip.compress(content, level, mtime=0)).decode()


def packed_json(value: Any) -> str:
    """A value as packed JSON, in UTF-8."""
    return packed(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())


def packed_array(values: np.ndarray) -> str:
    """The numbers of an array, little-endian and packed. The page knows their type."""
    return packed(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes())


@cache
def packed_plotly() -> str:
    """Plotly's script, packed; ModuleNotFoundError without the package."""
    return packed(files("plotly").joinpath("package_data/plotly.min.js").read_bytes(), _SCRIPT_LEVEL)
