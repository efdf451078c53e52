"""bench topk night=FOLDER: a night's own lists beside all scores sorted, list by list."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgspark.errors import InputError
from kgspark.external_ids import ITEMS, QUERIES, Side, read_ids
from kgspark.histories import Histories
from kgspark.retrieval.index import load_index
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.topk import top_k_of_scores
from kgspark.runs import Manifest
from kgspark.tables import AUDIENCES, CANDIDATES, RATINGS, RECOMMENDATIONS, SEARCH_SPACE

_ID = {QUERIES: "user_id", ITEMS: "movie_id"}
_RANKED: dict[str, Side] = {RECOMMENDATIONS: ITEMS, AUDIENCES: QUERIES}
# Scores in memory at a time, 4 bytes each.
_CELLS = 20_000_000


def compare_night(run: Path) -> list[dict[str, Any]]:
    """What the ranked tables in the run folder `run` say beside all scores sorted, with what was rated left out.

    A row a table: `lists`, how many of them are `wrong` (an id, the order or the length differs), and `seen`, the rows
    that the asking side has rated. Raises InputError where there is no such night, or one that restricts candidates.
    """
    if (run / CANDIDATES).exists():
        raise InputError(f"{run}: this night restricts what is offered; night= takes one without candidates")
    manifests = {table: Manifest.read(run / table) for table in _RANKED}
    if manifests[RECOMMENDATIONS] is None:
        raise InputError(f"{run}: no table recommendations; night= takes a night's folder, <lake>/runs/<run_date>")
    return [
        {"table": table, **_compare_table(run, table, int(manifest.details["k"]))}
        for table, manifest in manifests.items()
        if manifest is not None
    ]


def _compare_table(run: Path, table: str, k: int) -> dict[str, int]:
    ranked = _RANKED[table]
    asking: Side = QUERIES if ranked == ITEMS else ITEMS
    loaded = load_index(run / SEARCH_SPACE, ranked)
    sizes = {asking: len(loaded.asking), ranked: len(loaded.index)}
    names = {side: read_ids(run / SEARCH_SPACE, side, rows) for side, rows in sizes.items()}
    query, item = _positions(run / RATINGS, names)
    seen = _by_query(query, item, item, len(loaded.asking))
    query, item, rank = _positions(run / table, names, "rank")
    written = _by_query(query, item, rank, len(loaded.asking))
    width = max(k, int(written.sizes.max(initial=0)))
    wrong = leaks = 0
    for part in np.array_split(np.arange(len(seen)), -(-len(seen) * len(loaded.index) // _CELLS)):
        history = seen.pick(part)
        best = top_k_of_scores(score_all(loaded.index, loaded.asking[part]), history, k)
        expected = np.pad(best.ids, ((0, 0), (0, width - k)), constant_values=-1)
        found = _padded(written.pick(part), width)
        wrong += int((found != expected).any(axis=1).sum())
        leaks += int(history.contains(found).sum())
    return {"lists": len(seen), "rows": len(item), "k": k, "wrong": wrong, "seen": leaks}


def _positions(folder: Path, names: dict[Side, pa.Array], *more: str) -> list[np.ndarray]:
    """Columns of a table: the ids of each side as positions int64, and the columns `more` as they are."""
    table = pq.read_table(folder, columns=[*(_ID[side] for side in names), *more], partitioning=None)
    places = [pc.index_in(table[_ID[side]].combine_chunks(), ids) for side, ids in names.items()]
    return [place.to_numpy().astype(np.int64) for place in places] + [table[name].to_numpy() for name in more]


def _by_query(query: np.ndarray, item: np.ndarray, order: np.ndarray, queries: int) -> Histories:
    """The items of each query, by rising `order`."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=queries))])
    return Histories(starts, item[np.lexsort((order, query))])


def _padded(lists: Histories, width: int) -> np.ndarray:
    """int64 (B, width), with -1 behind shorter lists."""
    padded = np.full((len(lists), width), -1)
    padded[np.arange(width) < lists.sizes[:, None]] = lists.indices
    return padded
