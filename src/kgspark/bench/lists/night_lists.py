"""bench topk night=FOLDER: a night's lists, compared one by one with all scores sorted."""

from pathlib import Path
from typing import Any

import numpy as np

from kgspark.bench.lists.night_side import NightSide, read_sides
from kgspark.graph.histories import Histories
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.topk import top_k_of_scores

# Scores in memory at once, 4 bytes each.
_CELLS = 20_000_000


def compare_night(run: Path) -> list[dict[str, Any]]:
    """Compares the ranked tables in the run folder `run` with all scores sorted, without the rated rows.

    One row per table: `lists`, the number of them that are `wrong` (an id, the order or the length differs), and
    `seen`, the number of rows that the query has rated. Raises InputError as `read_sides` does.
    """
    return [{"table": table, **_compare_table(run / table, side)} for table, side in read_sides(run).items()]


def _compare_table(folder: Path, side: NightSide) -> dict[str, int]:
    index, k = side.index, side.k
    written = side.lists(folder, "rank")
    width = max(k, int(written.sizes.max(initial=0)))
    wrong = leaks = 0
    for part in np.array_split(np.arange(len(written)), -(-len(written) * len(index) // _CELLS)):
        history = side.seen.pick(part)
        best = top_k_of_scores(score_all(index, side.queries[part]), history, k)
        expected = np.pad(best.ids, ((0, 0), (0, width - k)), constant_values=-1)
        found = _pad(written.pick(part), width)
        wrong += int((found != expected).any(axis=1).sum())
        leaks += int(history.contains(found).sum())
    return {"lists": len(written), "rows": len(written.indices), "k": k, "wrong": wrong, "seen": leaks}


def _pad(lists: Histories, width: int) -> np.ndarray:
    """int64 (B, width), with -1 at the end of shorter lists."""
    padded = np.full((len(lists), width), -1)
    padded[np.arange(width) < lists.sizes[:, None]] = lists.indices
    return padded
