"""What changed since the last published night: entities that are new or gone, and movies that rose or fell."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.report.night_page.lists import UserLists
from kgspark.report.night_page.movies import titles_of
from kgspark.report.night_page.night import PageNight, ids_of, stream
from kgspark.report.night_page.reach import K, Reach
from kgspark.runs import Run
from kgspark.search_space import ITEMS, QUERIES
from kgspark.tables import ENTITIES, Columns

_CHUNK = 1 << 16
_EXAMPLES, _MOVERS = 8, 10
# Kinds with more entities are not compared by name, but for users and movies, which are sorted.
_MOST_NAMES = 200_000


def missing(here: pa.Array, there: pa.Array, examples: int = _EXAMPLES) -> tuple[int, list[Any]]:
    """How many ids of `here` are not in `there`, and the first of them. Both are sorted, and read in parts."""
    if here.type != there.type:
        return 0, []
    count, ordered = 0, _Sorted(there)
    first: list[Any] = []
    for start in range(0, len(here), _CHUNK):
        part = here.slice(start, _CHUNK)
        low, high = bisect_left(ordered, part[0].as_py()), bisect_left(ordered, part[-1].as_py()) + 1
        absent = part.filter(pc.invert(pc.is_in(part, value_set=there.slice(low, high - low))))
        count += len(absent)
        first += absent.slice(0, examples - len(first)).to_pylist()
    return count, first


class _Sorted:
    """An Arrow array for `bisect`: a value at a time."""

    def __init__(self, ids: pa.Array) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place: int) -> Any:
        return self._ids[place].as_py()


def entity_changes(night: PageNight) -> list[dict[str, Any]]:
    """A row per kind of entities: their number now and before, how many are new and gone, and the names of some."""
    before = night.before
    manifest = None if before is None else before.find_manifest(ENTITIES)
    if before is None or manifest is None:
        return []
    earlier = EntityLayout.from_json(manifest.details["layout"])
    rows = []
    for kind in night.layout.ranges:
        now, then = night.layout.count(kind), earlier.count(kind) if kind in earlier.ranges else 0
        row = {"kind": night.names.of_kind(kind), "now": now, "before": then}
        rows.append(row | _compared(night, before, kind, max(now, then)))
    return rows


def _compared(night: PageNight, before: Run, kind: str, largest: int) -> dict[str, Any]:
    if kind in (USER, MOVIE):
        side = QUERIES if kind == USER else ITEMS
        here, there = ids_of(night.run, side), ids_of(before, side)
    elif largest <= _MOST_NAMES:
        here, there = (_names(run, kind) for run in (night.run, before))
    else:
        return {}
    if here is None or there is None or here.type != there.type:
        return {}
    (new, first_new), (gone, first_gone) = missing(here, there), missing(there, here)
    if kind == MOVIE:
        first_new = titles_of(night.run, pa.array(first_new, here.type))
        first_gone = titles_of(before, pa.array(first_gone, here.type))
    return {"new": new, "gone": gone, "first_new": list(map(str, first_new)), "first_gone": list(map(str, first_gone))}


def _names(run: Run, kind: str) -> pa.Array:
    rows = stream(run.table(ENTITIES), (Columns.EXTERNAL_ID,), pc.field(Columns.KIND) == kind)
    found = [batch[Columns.EXTERNAL_ID] for batch in rows]
    return pa.concat_arrays([pa.array([], pa.string()), *(column.cast(pa.string()) for column in found)]).sort()


def movers(reach: Reach) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the movies that gained the most rows since the night before, and of those that lost the most."""
    if reach.before is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    gain = reach.shown - reach.before
    order = np.argsort(-gain, kind="stable")
    risen, fallen = order[:_MOVERS], order[::-1][:_MOVERS]
    return risen[gain[risen] > 0], fallen[gain[fallen] < 0]


def kept_rows(lists: list[UserLists]) -> list[int]:
    """How many users of the sample keep 0, 1, …, `K` of the movies that stood in their first `K` rows before."""
    kept = list(_kept(lists))
    return np.bincount(kept, minlength=K + 1).tolist() if kept else []


def _kept(lists: list[UserLists]) -> Iterator[int]:
    for user in lists:
        if user.before is not None and user.listed:
            yield len({row[0] for row in user.listed[:K]} & set(user.before[:K]) - {-1})
