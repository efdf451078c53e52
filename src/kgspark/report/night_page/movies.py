"""The movies on the page: those with the most likes, and those in the lists. Others are only counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.report.night_page.night import PageNight, has_columns, stream
from kgspark.runs import Run
from kgspark.tables import MOVIES, Columns

# A title that is longer is cut, and all titles together have at most so many characters: the page must stay small.
_LONGEST, _ALL_TITLES = 80, 2_600_000


@dataclass(frozen=True)
class PageMovies:
    """Movies by their number on the page: the most liked first.

    positions  int64 (n,): position of each in the night
    likes      int64 (n,)
    titles     the id where there is no title
    genres     of each, as numbers into `genre_names`
    genre_names  all genres, the most frequent first
    """

    positions: np.ndarray
    likes: np.ndarray
    titles: Sequence[str]
    genres: Sequence[Sequence[int]]
    genre_names: Sequence[str]
    numbers: np.ndarray

    def __len__(self) -> int:
        """Number of movies on the page."""
        return len(self.positions)


def page_movies(night: PageNight, likes: np.ndarray, needed: np.ndarray) -> PageMovies:
    """The `settings.map_points` most liked movies, and the `needed` ones, int64 positions."""
    order = np.argsort(-likes, kind="stable")
    first = order[: night.settings.map_points]
    needed = np.setdiff1d(needed, first)
    positions = np.concatenate([first, needed[np.argsort(-likes[needed], kind="stable")]])
    titles, genres = _described(night, positions)
    while sum(map(len, titles)) > _ALL_TITLES and len(first) > 1000:
        first = first[: len(first) * 3 // 4]
        kept = np.concatenate([np.arange(len(first)), np.arange(len(positions) - len(needed), len(positions))])
        positions = positions[kept]
        titles, genres = [titles[it] for it in kept], [genres[it] for it in kept]
    names = _by_frequency(genres)
    places = {name: place for place, name in enumerate(names)}
    numbers = np.full(night.movies, -1, np.int64)
    numbers[positions] = np.arange(len(positions))
    listed = [[places[name] for name in of_movie] for of_movie in genres]
    return PageMovies(positions, likes[positions], titles, listed, names, numbers)


def titles_of(run: Run, ids: pa.Array) -> list[str]:
    """The titles of a few movies of a night by id; the id where there is none."""
    texts = [str(one) for one in ids.to_pylist()]
    if run.find_manifest(MOVIES) is None:
        return texts
    columns = (Columns.MOVIE_ID, Columns.TITLE)
    found: dict[str, str] = {}
    for batch in stream(run.table(MOVIES), columns, pc.field(Columns.MOVIE_ID).isin(ids)):
        found |= {str(row[Columns.MOVIE_ID]): row[Columns.TITLE] for row in batch.to_pylist()}
    return [_short(found.get(text) or text) for text in texts]


def _described(night: PageNight, positions: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Titles and genres of the movies at these positions."""
    titles: list[str] = [str(one) for one in night.movie_ids.take(pa.array(positions)).to_pylist()]
    genres: list[list[str]] = [[] for _ in positions]
    if night.run.find_manifest(MOVIES) is None:
        return titles, genres
    folder = night.run.table(MOVIES)
    numbers = np.full(night.movies + 1, -1, np.int64)  # the last one is for movies that are not in this night
    numbers[positions] = np.arange(len(positions))
    columns = [Columns.MOVIE_ID, Columns.TITLE, *([Columns.GENRES] if has_columns(folder, [Columns.GENRES]) else [])]
    for batch in stream(folder, columns):
        places = numbers[night.positions(batch[Columns.MOVIE_ID])]
        kept = np.flatnonzero(places >= 0)
        rows = batch.take(pa.array(kept))
        for place, title in zip(places[kept].tolist(), rows[Columns.TITLE].to_pylist(), strict=True):
            titles[place] = _short(title) if title else titles[place]
        if Columns.GENRES in columns:
            for place, of_movie in zip(places[kept].tolist(), rows[Columns.GENRES].to_pylist(), strict=True):
                genres[place] = of_movie or []
    return titles, genres


def _short(title: str) -> str:
    return title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…"


def _by_frequency(genres: Sequence[Sequence[str]]) -> list[str]:
    counts: dict[str, int] = {}
    for of_movie in genres:
        for name in of_movie:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))
