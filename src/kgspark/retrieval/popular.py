"""Popular movies, for users without a vector, and for lists that the movies with vectors do not fill.

The lists of a folder are sub-folders, numbered from 0, one per segment, or one for all users. Each holds `movies.npy`,
`sources.npy` and `scores.npy` (see `PopularList`), and `users.npy` if it is for a segment. Ranking tasks map them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.graph.histories import Histories
from kgspark.retrieval.pool_files import offered_by_segment
from kgspark.retrieval.pools import rows_among
from kgspark.retrieval.rules.caps import Caps
from kgspark.retrieval.topk import Ranking
from kgspark.tables import POPULAR, POPULAR_IN_SEGMENT, ROW_SOURCES, Columns

# Cells of the (users, movies) arrays of a step; a cell takes up to 24 bytes.
_CELLS = 4_000_000
_IN_SEGMENT, _OVERALL = (ROW_SOURCES.index(name) for name in (POPULAR_IN_SEGMENT, POPULAR))


@dataclass(frozen=True)
class PopularList:
    """The movies that are offered to some users, the most popular first, and then by position.

    movies   int64 (n,): positions
    sources  uint8 (n,): positions in `tables.ROW_SOURCES`: movies that the segment likes come before the others
    scores   float32 (n,): the movie's share of the likes of the segment, or of all likes; never above the one before
    users    int64: the positions of the users, sorted; None for all
    """

    movies: np.ndarray
    sources: np.ndarray
    scores: np.ndarray
    users: np.ndarray | None = None

    @classmethod
    def of(
        cls, likes: np.ndarray, of_segment: np.ndarray | None, offered: np.ndarray, users: np.ndarray | None = None
    ) -> "PopularList":
        """The list of the movies `offered` int64 by their number of `likes` int64 (M,).

        of_segment  the likes of the segment's users, int64 (M,); None if the users are in no segment
        """
        own = np.zeros_like(likes) if of_segment is None else of_segment
        in_segment = own[offered] > 0
        order = np.lexsort((offered, np.where(in_segment, 0, -likes[offered]), -own[offered]))
        movies, in_segment = offered[order], in_segment[order]
        shares = np.where(in_segment, own[movies] / max(own.sum(), 1), likes[movies] / max(likes.sum(), 1))
        sources = np.where(in_segment, _IN_SEGMENT, _OVERALL).astype(np.uint8)
        return cls(movies, sources, np.minimum.accumulate(shares).astype(np.float32), users)

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """The rows of `positions` int64 (B,) whose user this list is for, int64."""
        return rows_among(self.users, positions)

    def fill(
        self,
        ranking: Ranking,
        sources: np.ndarray,
        seen: Histories,
        rows: np.ndarray,
        caps: Caps | None = None,
        counts: np.ndarray | None = None,
    ) -> None:
        """Fills the lists `rows` int64 up to their length with unseen movies that they do not have yet, in place.

        ranking  its scores do not increase, so a popular movie's score is at most that of the list's last movie
        sources  uint8 (B, k): the source of each place of a list
        seen     positions of movies, per list
        counts   of `caps`, which leave out movies, so that any of them may be looked at; changed in place
        """
        k = ranking.ids.shape[1]
        rows = rows[ranking.counts[rows] < k]
        rows = rows[np.argsort(seen.sizes[rows], kind="stable")]
        for some, depth in self._steps(seen.sizes[rows] + (k if caps is None else len(self.movies))):
            self._fill(ranking, sources, seen, rows[some], depth, (caps, counts))

    def _steps(self, depths: np.ndarray) -> Iterator[tuple[slice, int]]:
        """Cuts rows, whose rising `depths` say how many movies they may need to look at, into steps of bounded size."""
        start = 0
        while start < len(depths):
            reach = np.minimum(depths[start:], len(self.movies))
            fits = reach * np.arange(1, len(reach) + 1) <= _CELLS
            stop = start + max(1, int(np.count_nonzero(fits)))
            yield slice(start, stop), int(reach[stop - start - 1])
            start = stop

    def _fill(
        self,
        ranking: Ranking,
        sources: np.ndarray,
        seen: Histories,
        rows: np.ndarray,
        depth: int,
        room: tuple[Caps | None, np.ndarray | None],
    ) -> None:
        ids, counts, movies = ranking.ids[rows], ranking.counts[rows], self.movies[:depth]
        listed = Histories.from_sizes(counts, ids[ids >= 0])
        free = ~(seen.pick(rows) | listed).contains(np.broadcast_to(movies, (len(rows), depth)))
        caps, of_groups = room
        if caps is not None and of_groups is not None:
            part = of_groups[rows]
            free = caps.take(part, np.where(free, movies, -1), ids.shape[1] - counts)
            of_groups[rows] = part
        place = counts[:, None] + np.cumsum(free, axis=1) - 1
        row, column = np.nonzero(free & (place < ids.shape[1]))
        at = rows[row], place[row, column]
        lowest = np.where(counts > 0, ranking.scores[rows, np.maximum(counts - 1, 0)], np.inf).astype(np.float32)
        ranking.ids[at] = movies[column]
        ranking.scores[at] = np.minimum(self.scores[column], lowest[row])
        sources[at] = self.sources[column]
        ranking.counts[rows] = (ranking.ids[rows] >= 0).sum(axis=1)


def write_popular(folder: Path, likes: Path, movies: int, candidates: Path | None, segments: Collection[str]) -> None:
    """Writes the lists into the new `folder`, one per segment with users and movies.

    likes       folder of a table with columns segment, position and likes, for all segments
    movies      number of all movies
    candidates  holds the tables `segments` and `candidates`; None if every movie is offered to everybody
    segments    those whose own likes count; the users of another one get what is popular among all
    """
    counts = _counts(likes, movies)
    overall = sum(counts.values(), np.zeros(movies, np.int64))
    if candidates is None:
        _write(folder / "0", PopularList.of(overall, None, np.arange(movies)))
        return
    for number, (segment, users, offered) in enumerate(offered_by_segment(candidates)):
        own = counts.get(segment) if segment in segments else None
        _write(folder / str(number), PopularList.of(overall, own, offered, users))


def load_popular(folder: Path) -> Sequence[PopularList]:
    """The lists that `write_popular` wrote, memory-mapped."""
    return [_read(path) for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]


def _counts(folder: Path, movies: int) -> Mapping[str, np.ndarray]:
    """The likes of each movie int64 (movies,), by segment."""
    table: pa.Table = ds.dataset(sorted(folder.glob("*.parquet"))).to_table()
    counts = {}
    for segment in pc.unique(table[Columns.SEGMENT]).to_pylist():
        rows = table.filter(pc.field(Columns.SEGMENT) == segment)
        counts[segment] = np.zeros(movies, np.int64)
        counts[segment][rows[Columns.POSITION].to_numpy()] = rows[Columns.LIKES].to_numpy()
    return counts


def _write(folder: Path, popular: PopularList) -> None:
    folder.mkdir(parents=True)
    for name, array in vars(popular).items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)


def _read(folder: Path) -> PopularList:
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
    return PopularList(**arrays)
