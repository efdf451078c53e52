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
# Scores in memory at a time, 4 bytes each.
_CELLS = 20_000_000


def compared(run: Path) -> list[dict[str, Any]]:
    """What the ranked tables in the run folder `run` say beside all scores sorted, with what was rated left out.

    A row a table: `lists`, how many of them are `wrong` (an id, the order or the length differs), and `seen`, the rows
    that the asking side has rated. Raises InputError where there is no such night, or one that restricts candidates.
    """
    if (run / CANDIDATES).exists():
        raise InputError(f"{run}: this night restricts what is offered; night= takes one without candidates")
    if not (run / RECOMMENDATIONS).is_dir():
        raise InputError(f"{run}: no table recommendations; night= takes a night's folder, <lake>/runs/<run_date>")
    ranked: dict[str, Side] = {RECOMMENDATIONS: ITEMS, AUDIENCES: QUERIES}
    return [_compared(run, table, side) for table, side in ranked.items() if (run / table).is_dir()]


def _compared(run: Path, table: str, ranked: Side) -> dict[str, Any]:
    asking: Side = QUERIES if ranked == ITEMS else ITEMS
    loaded = load_index(run / SEARCH_SPACE, ranked)
    sides = asking, ranked
    ids = {asking: len(loaded.asking), ranked: len(loaded.index)}
    names = {side: read_ids(run / SEARCH_SPACE, side, rows) for side, rows in ids.items()}
    rows, rated = _positions(run / RATINGS, sides, names)
    seen = Histories(_starts(rows, len(loaded.asking)), rated[np.argsort(rows, kind="stable")])
    query, item, rank = _positions(run / table, sides, names, "rank")
    order = np.lexsort((rank, query))
    found = Histories(_starts(query, len(loaded.asking)), item[order])
    manifest = Manifest.read(run / table)
    k = int(manifest.details["k"]) if manifest else int(rank.max(initial=1))
    wrong = leaks = 0
    for part in np.array_split(np.arange(len(seen)), -(-len(seen) * len(loaded.index) // _CELLS)):
        history = seen.pick(part)
        best = top_k_of_scores(score_all(loaded.index, loaded.asking[part]), history, k)
        lists = found.pick(part)
        padded = np.full((len(part), max(k, int(lists.sizes.max(initial=0)))), -1)
        padded[np.arange(padded.shape[1]) < lists.sizes[:, None]] = lists.indices
        expected = np.pad(best.ids, ((0, 0), (0, padded.shape[1] - k)), constant_values=-1)
        wrong += int((padded != expected).any(axis=1).sum())
        leaks += int(history.contains(padded).sum())
    return {"table": table, "lists": len(seen), "rows": len(item), "k": k, "wrong": wrong, "seen": leaks}


def _positions(folder: Path, sides: tuple[Side, Side], names: dict[Side, pa.Array], *more: str) -> list[np.ndarray]:
    """The columns of ids as positions int64, and the columns `more` as they are."""
    table = pq.read_table(folder, columns=[*(_ID[side] for side in sides), *more], partitioning=None)
    places = [pc.index_in(table[_ID[side]].combine_chunks(), names[side]) for side in sides]
    return [place.to_numpy().astype(np.int64) for place in places] + [table[name].to_numpy() for name in more]


def _starts(rows: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
