"""The fact that a recommended movie shares with the movie that is its reason: the one that the fewest movies have.

A folder holds `indptr.npy` and `facts.npy` (see `MovieFacts`), `facts.arrow` with the relation and the entity of each
fact, and `titles.arrow` with the title of each movie.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.tables import Columns

# Facts that are compared in one step.
_CELLS = 4_000_000


@dataclass(frozen=True)
class MovieFacts:
    """The facts of all movies, by position. Facts are numbered from the rarest one on.

    indptr, facts  int64 (M + 1,) and (n,): movie m has `facts[indptr[m]:indptr[m + 1]]`, rising
    relations, entities  string (F,): the name of the relation, and the entity's id
    titles         string (M,)
    """

    indptr: np.ndarray
    facts: np.ndarray
    relations: pa.Array
    entities: pa.Array
    titles: pa.Array

    def shared(self, movies: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The rarest fact that both of `movies` and `others` int64 (n,) have, int64 (n,); -1 if there is none.

        A position of -1 is no movie.
        """
        pairs, back = np.unique(movies * len(self.indptr) + others, return_inverse=True)
        first, second = np.divmod(pairs, len(self.indptr))
        is_pair = np.ones(len(pairs), bool)
        is_pair[back[(movies < 0) | (others < 0)]] = False
        found = np.full(len(pairs), -1, np.int64)
        rows = np.flatnonzero(is_pair)
        sizes = np.diff(self.indptr)
        # The facts of the movie with fewer ones are looked up among those of the other.
        swap = sizes[first[rows]] > sizes[second[rows]]
        few, many = np.where(swap, second[rows], first[rows]), np.where(swap, first[rows], second[rows])
        ends = np.cumsum(sizes[few])
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(ends // _CELLS)) + 1):
            found[rows[part]] = self._rarest(few[part], many[part])
        return found[back]

    def _rarest(self, few: np.ndarray, many: np.ndarray) -> np.ndarray:
        sizes = self.indptr[few + 1] - self.indptr[few]
        owner = np.repeat(np.arange(len(few)), sizes)
        asked = self.facts[np.arange(sizes.sum()) + np.repeat(self.indptr[few] - np.cumsum(sizes) + sizes, sizes)]
        # Movies and their facts rise, so all facts are in one order.
        number = len(self.relations)
        known = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr)) * number + self.facts
        wanted = many[owner] * number + asked
        at = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        shared = np.flatnonzero(known[at] == wanted) if len(known) else np.empty(0, np.int64)
        rarest = np.full(len(few), -1, np.int64)
        # The facts of a movie rise, so the first one found is the rarest.
        owners, first = np.unique(owner[shared], return_index=True)
        rarest[owners] = asked[shared[first]]
        return rarest


def write_facts(folder: Path, facts: Path, titles: Path, movies: int) -> None:
    """Writes the facts of `movies` movies into the new `folder`.

    facts   folder of a table: position, relation (its number), name (of the relation), entity (its index), external_id
    titles  folder of a table: position, title
    """
    folder.mkdir()
    rows = _read(facts, [Columns.POSITION, Columns.RELATION, "name", "entity", Columns.EXTERNAL_ID])
    relation, entity = (rows[name].to_numpy().astype(np.int64) for name in (Columns.RELATION, "entity"))
    span = int(entity.max(initial=0)) + 1
    keys, example, back, sizes = np.unique(
        relation * span + entity, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((keys, sizes))
    number = np.empty(len(keys), np.int64)
    number[order] = np.arange(len(keys))
    positions, of_rows = rows[Columns.POSITION].to_numpy().astype(np.int64), number[back]
    kept = sizes[back] > 1  # nobody can share a fact of one movie
    in_order = np.lexsort((of_rows[kept], positions[kept]))
    np.save(folder / "facts.npy", of_rows[kept][in_order])
    np.save(folder / "indptr.npy", np.append(0, np.cumsum(np.bincount(positions[kept], minlength=movies))))
    named = rows.take(pa.array(example[order]))
    _write(folder / "facts.arrow", named.select(["name", Columns.EXTERNAL_ID]))
    of_movies = _read(titles, [Columns.POSITION, Columns.TITLE]).sort_by(Columns.POSITION)
    _write(folder / "titles.arrow", of_movies.select([Columns.TITLE]))


def load_facts(folder: Path) -> MovieFacts:
    """The facts that `write_facts` wrote, memory-mapped."""
    indptr, facts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("indptr", "facts"))
    named, titles = (pa.ipc.open_file(pa.memory_map(str(folder / f"{name}.arrow"))) for name in ("facts", "titles"))
    texts = [*named.read_all().columns, *titles.read_all().columns]
    return MovieFacts(indptr, facts, *(each.combine_chunks() for each in texts))


def _read(folder: Path, columns: list[str]) -> pa.Table:
    table: pa.Table = ds.dataset(sorted(folder.glob("*.parquet"))).to_table(columns=columns)
    return table


def _write(path: Path, table: pa.Table) -> None:
    texts = [pc.cast(column, pa.string()).combine_chunks() for column in table.columns]
    table = pa.table(texts, names=table.column_names)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
