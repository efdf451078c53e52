"""What the page is made of: the night's folder, the night before, and what the caller knows besides the tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.names import Names
from kgspark.report.night_page.settings import ReportSettings
from kgspark.runs import Run
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, Side, read_ids
from kgspark.tables import ENTITIES, MODEL, RATINGS, SEARCH_SPACE, TRIPLES

# Rows that are in memory at once while a table is counted.
_BATCH_ROWS = 1 << 17


@dataclass(frozen=True)
class NightContext:
    """What is not in the night's tables.

    state     `published`, `refused` or `not published`
    reason    why nothing was published, in one line; empty if it is not known
    findings  the lines of the audit: of the publication, or of the one that was refused
    seconds, memory  by stage: wall seconds, and peak bytes of all processes; empty if not every stage ran
    nights    date, metrics of model and popularity, and total seconds of this night and the last ones, oldest first
    full      seconds by stage of the last full night; empty if there is none
    before_lists  the published recommendations of the night before, as files of this machine
    """

    state: str
    reason: str = ""
    findings: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    nights: Sequence[Mapping[str, Any]] = ()
    full: Mapping[str, float] = field(default_factory=dict)
    full_date: str = ""
    before_lists: Path | None = None


@dataclass(frozen=True)
class PageNight:
    """A night, as every part of the page sees it.

    target  name of the relation to recommend by
    before  the last night before this one that was published; None in the first one
    """

    run: Run
    names: Names
    target: str
    settings: ReportSettings
    context: NightContext
    before: Run | None = None

    @cached_property
    def layout(self) -> EntityLayout:
        """The numbering of all entities."""
        return EntityLayout.from_json(self.run.manifest(ENTITIES).details["layout"])

    @cached_property
    def relations(self) -> list[Relation]:
        """The relations of the triples, in index order."""
        return [Relation.from_json(value) for value in self.run.manifest(TRIPLES).details["relations"]]

    @cached_property
    def target_relation(self) -> Relation:
        """The relation to recommend by."""
        return next(relation for relation in self.relations if relation.name == self.target)

    @cached_property
    def model(self) -> Mapping[str, Any]:
        """The details of the model's manifest."""
        return self.run.manifest(MODEL).details

    @cached_property
    def cleaning(self) -> Mapping[str, Any]:
        """The details of the manifest of the ratings."""
        return self.run.manifest(RATINGS).details

    @cached_property
    def space(self) -> SearchSpace:
        """The vectors that recommendations are ranked by, memory-mapped."""
        return SearchSpace.load(self.run.table(SEARCH_SPACE))

    @cached_property
    def movie_ids(self) -> pa.Array:
        """The ids of all movies, by position."""
        return read_ids(self.run.table(SEARCH_SPACE), ITEMS)

    @cached_property
    def user_ids(self) -> pa.Array:
        """The ids of all users, by position, memory-mapped: read it in parts."""
        return read_ids(self.run.table(SEARCH_SPACE), QUERIES)

    @property
    def users(self) -> int:
        """Number of users."""
        return self.layout.count(USER)

    @property
    def movies(self) -> int:
        """Number of movies."""
        return self.layout.count(MOVIE)

    def positions(self, movie_ids: pa.Array) -> np.ndarray:
        """The position of each movie id, int64 (n,); -1 for one that is not in this night."""
        if movie_ids.type != self.movie_ids.type:
            movie_ids = pc.cast(movie_ids, self.movie_ids.type)
        found = pc.index_in(movie_ids, value_set=self.movie_ids)
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)


def ids_of(run: Run, side: Side) -> pa.Array | None:
    """The ids of a night's users or movies, memory-mapped; None if its search space is not there any more."""
    return read_ids(run.table(SEARCH_SPACE), side) if run.find_manifest(SEARCH_SPACE) is not None else None


def stream(folder: Path, columns: Sequence[str], where: pc.Expression | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a table in batches; nothing but a few of them is in memory."""
    files = sorted(path for path in folder.glob("*.parquet") if path.name[0] not in "_.")
    if files:
        yield from ds.dataset(files).to_batches(columns=list(columns), filter=where, batch_size=_BATCH_ROWS)


def has_columns(folder: Path, columns: Sequence[str]) -> bool:
    """True if a table's files have all these columns."""
    files = sorted(folder.glob("*.parquet"))
    return bool(files) and set(columns) <= set(ds.dataset(files).schema.names)
