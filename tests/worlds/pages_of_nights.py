"""A report of a small night for tests: with a night before it, titles that look like HTML, and its data unpacked."""

import base64
import gzip
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgspark.night.night_report import REPORT, write_report
from nights import DATE, a_small_night, describe_again

BEFORE = "2026-01-01"
HOSTILE = (
    '</script><script>document.title = "taken"</script>',
    "<img src=x onerror=\"document.title = 'taken'\">",
    'O\'Brien & "Söhne" <b>bold</b>',
    "{{ 7 * 7 }} ${7 * 7} \\u003c",
    "Ünïcode ‘quotes’ 映画 \u2028 line",
)
_TYPES = {
    "likes": "<u4",
    "genreSizes": "<u1",
    "genres": "<u2",
    "numbers": "<u4",
    "x": "<i2",
    "y": "<i2",
    "colours": "<u1",
}


@dataclass(frozen=True)
class ReportOfNight:
    """The page of a night: its lake, its file and its text."""

    lake: Path
    path: Path
    text: str

    def json(self, name: str) -> Any:
        """A packed value."""
        return json.loads(self.packed(name))

    def array(self, name: str) -> np.ndarray:
        """A packed array."""
        return np.frombuffer(self.packed(name), _TYPES[name])

    def packed(self, name: str) -> bytes:
        """The bytes of a packed part of the page."""
        found = re.search(rf'id="data-{name}">([A-Za-z0-9+/=]+)<', self.text)
        assert found, name
        return gzip.decompress(base64.b64decode(found[1]))


def report_of(lake: Path, source: Path, **changes: Any) -> ReportOfNight:
    """The page of the night in a lake, without Spark."""
    path = Path(write_report(a_small_night(source, lake, None, print, **changes)))
    assert path == lake / "runs" / DATE / REPORT
    return ReportOfNight(lake, path, path.read_text(encoding="utf-8"))


def with_a_night_before(small_night: Path, lake: Path) -> Path:
    """A copy of the small night's lake, with a night before it whose lists ended with another movie."""
    shutil.copytree(small_night / "lake", lake)
    shutil.copytree(lake / "runs" / DATE, lake / "runs" / BEFORE)
    for table in (lake / "warehouse").iterdir():
        if (table / f"ds={DATE}").is_dir():
            shutil.copytree(table / f"ds={DATE}", table / f"ds={BEFORE}")
    path = next((lake / "warehouse" / "recommendations" / f"ds={BEFORE}").glob("*.parquet"))
    table = pq.read_table(path, partitioning=None)
    # Each list ended with another movie: its rank 5 is the first movie of the table, which others have further up.
    movies = table["movie_id"].to_numpy().copy()
    movies[table["rank"].to_numpy() == 5] = movies[0]
    path.chmod(0o644)
    path.unlink()
    pq.write_table(table.set_column(table.schema.get_field_index("movie_id"), "movie_id", pa.array(movies)), path)
    return lake


def with_hostile_titles(lake: Path) -> list[str]:
    """Gives the most liked movies of the night hostile titles and genres; returns the titles."""
    folder = lake / "runs" / DATE / "movies"
    path = next(folder.glob("*.parquet"))
    movies = pq.read_table(path)
    ratings = pq.read_table(lake / "runs" / DATE / "ratings")
    order = ratings.group_by("movie_id").aggregate([("user_id", "count")]).sort_by([("user_id_count", "descending")])
    chosen = dict(zip(order["movie_id"].to_pylist(), HOSTILE, strict=False))
    titles = [
        chosen.get(one, title)
        for one, title in zip(*(movies[c].to_pylist() for c in ("movie_id", "title")), strict=True)
    ]
    genres = [[HOSTILE[0], "Drama"]] * len(movies)
    for name, values in (("title", titles), ("genres", genres)):
        place = movies.schema.get_field_index(name)
        movies = movies.set_column(place, movies.schema.field(name), pa.array(values, movies.schema.field(name).type))
    pq.write_table(movies, path)
    describe_again(folder)
    assert pc.sum(pc.is_in(movies["title"], value_set=pa.array(HOSTILE))).as_py() == len(HOSTILE)
    return list(HOSTILE)
