"""One ranked table of a finished night, for a benchmark: vectors, ids, and the rows that each query has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgspark.errors import InputError
from kgspark.graph.histories import Histories
from kgspark.manifests import Manifest
from kgspark.retrieval.index import FlatIndex, load_index
from kgspark.search_space import ITEMS, OPPOSITE, QUERIES, SearchSpace, Side, read_ids
from kgspark.tables import AUDIENCES, CANDIDATES, RANKED_WITH, RATINGS, RECOMMENDATIONS, SEEN

_ID = {QUERIES: "user_id", ITEMS: "movie_id"}
_RANKED: dict[str, Side] = {RECOMMENDATIONS: ITEMS, AUDIENCES: QUERIES}


@dataclass(frozen=True)
class NightSide:
    """A ranked table, and the data that it was ranked from.

    k        the most rows per query
    index    over the ranked side
    queries  float32 (Q, d): the vectors of the queries
    names    external ids of both sides, by position
    seen     ranked positions that each query has rated or seen, in rising order
    columns  the table's names of the columns, by kgspark's, where they differ
    """

    k: int
    index: FlatIndex
    queries: np.ndarray
    names: dict[Side, pa.Array]
    seen: Histories
    columns: Mapping[str, str]

    def lists(self, folder: Path, order: str) -> Histories:
        """The ranked positions of each query in the table at `folder`, sorted by the column `order`."""
        query, item, place = _positions(folder, self.names, order, columns=self.columns)
        return _by_query(query, item, place, len(self.seen))


def read_sides(run: Path, threads: int = 1) -> dict[str, NightSide]:
    """The ranked tables of the run folder `run` by name.

    Raises InputError if there is no such night, or if it restricts its candidates.
    """
    if (run / CANDIDATES).exists():
        raise InputError(f"{run}: this night restricts its candidates; night= takes one that does not")
    manifests = {table: Manifest.read(run / table) for table in _RANKED}
    if manifests[RECOMMENDATIONS] is None:
        raise InputError(f"{run}: no table recommendations; night= takes a night's folder, <lake>/runs/<run_date>")
    return {
        table: _read_side(run, table, manifest, threads)
        for table, manifest in manifests.items()
        if manifest is not None
    }


def read_seen(run: Path, names: Mapping[Side, pa.Array]) -> Histories:
    """The rated or seen positions of the second side in `names` for each of the first side, in rising order.

    names  external ids by position: first the side of the queries, then the ranked one
    """
    pairs = [_positions(run / table, names) for table in (RATINGS, SEEN)]
    query, item = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return _by_query(query, item, item, len(next(iter(names.values()))))


def _read_side(run: Path, table: str, manifest: Manifest, threads: int) -> NightSide:
    folder, ranked = run / RANKED_WITH[table], _RANKED[table]
    index = load_index(folder, ranked, threads)
    queries = SearchSpace.load(folder).vectors(OPPOSITE[ranked])
    sizes = {OPPOSITE[ranked]: len(queries), ranked: len(index)}
    names = {side: read_ids(folder, side, rows) for side, rows in sizes.items()}
    columns = manifest.settings.get("names", {})
    return NightSide(int(manifest.details["k"]), index, queries, names, read_seen(run, names), columns)


def _positions(
    folder: Path, names: Mapping[Side, pa.Array], *more: str, columns: Mapping[str, str] | None = None
) -> list[np.ndarray]:
    """Columns of a table: the ids of each side as positions int64, and the columns `more` unchanged."""
    own = {side: (columns or {}).get(_ID[side], _ID[side]) for side in names}
    table = pq.read_table(folder, columns=[*own.values(), *more], partitioning=None)
    places = [pc.index_in(table[own[side]].combine_chunks(), ids) for side, ids in names.items()]
    return [place.to_numpy().astype(np.int64) for place in places] + [table[name].to_numpy() for name in more]


def _by_query(query: np.ndarray, item: np.ndarray, order: np.ndarray, queries: int) -> Histories:
    """The items of each query, sorted by `order`."""
    return Histories.from_sizes(np.bincount(query, minlength=queries), item[np.lexsort((order, query))])
