"""Reads what lists are made of from the folder of a night."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.answers.frames import find_positions
from kgspark.answers.lake_night import LakeNight
from kgspark.answers.material import Described, Material, MovieFacts, Offer, UserPairs, sorted_histories
from kgspark.fold_in import FoldIn
from kgspark.graph.histories import Histories
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.export.similar import similar_space
from kgspark.kge.settings import TrainSettings
from kgspark.names import Names
from kgspark.night.lists.rules import rule_plan
from kgspark.retrieval.pool_files import offered_by_segment
from kgspark.retrieval.rules.files import load_rules, write_rules
from kgspark.retrieval.rules.rules import Rules
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, read_ids
from kgspark.spark.ranking.rule_settings import RuleSettings
from kgspark.spark.ranking.settings import REST, CandidateSettings
from kgspark.tables import (
    AVERAGE,
    CANDIDATES,
    ENTITIES,
    MODEL,
    MOVIES,
    RATINGS,
    RECOMMENDATIONS,
    RULES,
    SEARCH_SPACE,
    SEEN,
    SEGMENTS,
    SIMILAR_SPACE,
    SOURCES,
    TRIPLES,
    Columns,
)


class NightMaterial(Material):
    """The tables of a night; each is read when it is first needed, and only the rows that are."""

    def __init__(self, night: LakeNight, names: Names | None = None) -> None:
        """names  the words of errors; the columns are those of the night in any case.

        Raises StageError if a table is missing, or if the tables do not belong together.
        """
        self._run = night.run
        ranked, triples, model, *_ = self._run.manifests((RECOMMENDATIONS, TRIPLES, MODEL, SEARCH_SPACE, ENTITIES))
        self._settings = ranked.settings
        folder = self._run.table(SEARCH_SPACE)
        self.space = SearchSpace.load(folder)
        self.user_ids = read_ids(folder, QUERIES, len(self.space.queries))
        self.movie_ids = read_ids(folder, ITEMS, len(self.space.items))
        self._layout = EntityLayout.from_json(self._run.manifest(ENTITIES).details["layout"])
        self._relations = [Relation.from_json(value) for value in triples.details["relations"]]
        train = TrainSettings.model_validate(model.settings["train"])
        self._target = next(relation for relation in self._relations if relation.name == train.target)
        self._learned = train.learned_splits
        self.described = Described(
            f"the night of {night.date}",
            night.date,
            self._settings["recommend"]["k"],
            self._settings["similar_items"]["k"],
            Names(**({} if names is None else names.model_dump()) | self._settings["names"]),
            list(self._settings["candidates"]["segments"]),
        )

    def pairs(self, users: np.ndarray) -> UserPairs:
        """See `Material`."""
        positions, asked = np.unique(users, return_inverse=True)
        seen, likes = self._seen(positions), self._likes(positions)
        rows, entries = np.searchsorted(positions, likes[Columns.HEAD].to_numpy()), likes[Columns.TAIL].to_numpy()
        times = pc.fill_null(likes[Columns.TIMESTAMP], 0).to_numpy()
        learned = pc.is_in(likes[Columns.SPLIT], value_set=pa.array(self._learned)).to_numpy()
        of_learned = sorted_histories(
            rows[learned], entries[learned], len(positions), times[learned] if times.any() else None
        )
        liked = sorted_histories(rows, entries, len(positions))
        return UserPairs(seen.pick(asked), liked.pick(asked), of_learned.pick(asked))

    def _seen(self, positions: np.ndarray) -> Histories:
        """The pairs of the ratings and of refused lines, of the users at sorted positions."""
        ids = self.user_ids.take(pa.array(positions))
        columns, wanted = (Columns.USER_ID, Columns.MOVIE_ID), _among(Columns.USER_ID, ids)
        pairs = pa.concat_tables(
            [self._read(name, columns, wanted).cast(self._pair_schema) for name in (RATINGS, SEEN)]
        )
        rows, entries = find_positions(pairs[columns[0]], ids), find_positions(pairs[columns[1]], self.movie_ids)
        known = entries >= 0
        return sorted_histories(rows[known], entries[known], len(positions))

    @property
    def _pair_schema(self) -> pa.Schema:
        return pa.schema({Columns.USER_ID: self.user_ids.type, Columns.MOVIE_ID: self.movie_ids.type})

    def offers(self) -> Sequence[Offer]:
        """See `Material`."""
        if self._run.find_manifest(CANDIDATES) is None:
            return [Offer(REST, None, None)]
        for name in (SEGMENTS, CANDIDATES):
            self._run.table(name)  # fetches it, if the lake is in a store
        return [Offer(*found) for found in offered_by_segment(self._run.folder)]

    def rules(self) -> Rules | None:
        """See `Material`."""
        rules = RuleSettings.model_validate(self._settings.get("rules", {}))
        candidates = CandidateSettings.model_validate(self._settings["candidates"])
        if not (rules.active or candidates.pins):
            return None
        for name in (SEGMENTS, CANDIDATES, RULES):
            if self._run.find_manifest(name) is not None:
                self._run.table(name)  # fetches it, if the lake is in a store
        plan = rule_plan(rules, self.described.date)
        placed: np.ndarray = self.space.item_sources != SOURCES.index(AVERAGE)
        with TemporaryDirectory() as scratch:  # what is mapped stays readable after it is removed
            folder = Path(scratch) / "rules"
            write_rules(folder, plan, self._run.folder, candidates.restrict, placed)
            return load_rules(folder)

    def likes(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Material`."""
        rows = self._likes(None)
        rows = rows.filter(pc.is_in(rows[Columns.SPLIT], value_set=pa.array(self._learned)))
        return rows[Columns.HEAD].to_numpy(), rows[Columns.TAIL].to_numpy()

    def ratings(self, user: int) -> pa.Table:
        """See `Material`."""
        columns = (Columns.MOVIE_ID, Columns.RATING, Columns.TIMESTAMP)
        rows = self._read(RATINGS, columns, pc.field(Columns.USER_ID) == self.user_ids[user])
        return rows.sort_by([(Columns.TIMESTAMP, "descending"), (Columns.MOVIE_ID, "ascending")])

    def titles(self) -> Mapping[object, str]:
        """See `Material`."""
        return self._titles

    @cached_property
    def _titles(self) -> Mapping[object, str]:
        if self._run.find_manifest(MOVIES) is None:
            return {}
        rows = self._read(MOVIES, (Columns.MOVIE_ID, Columns.TITLE))
        pairs = zip(rows[Columns.MOVIE_ID].to_pylist(), rows[Columns.TITLE].to_pylist(), strict=True)
        return {movie: title for movie, title in pairs if title}

    def facts(self, movies: np.ndarray) -> MovieFacts:
        """See `Material`."""
        first = self._layout.range(MOVIE)[0]
        named = {relation.index: relation for relation in self._relations if relation.head_kind == MOVIE}
        wanted = _among(Columns.RELATION, list(named)) & _among(Columns.HEAD, (movies + first).tolist())
        rows = self._read(TRIPLES, (Columns.HEAD, Columns.RELATION, Columns.TAIL), wanted)
        tails = rows[Columns.TAIL]
        found = self._read(ENTITIES, (Columns.INDEX, Columns.EXTERNAL_ID), _among(Columns.INDEX, pc.unique(tails)))
        ids = found[Columns.EXTERNAL_ID].take(pc.index_in(tails, value_set=found[Columns.INDEX].combine_chunks()))
        relations = [named[number] for number in rows[Columns.RELATION].to_pylist()]
        return MovieFacts(
            np.array([relation.name for relation in relations], object),
            rows[Columns.HEAD].to_numpy() - first,
            np.array([relation.tail_kind for relation in relations], object),
            np.array(ids.to_pylist(), object),
        )

    def similar_space(self) -> SearchSpace:
        """See `Material`."""
        if self._run.find_manifest(SIMILAR_SPACE) is not None:
            return SearchSpace.load(self._run.table(SIMILAR_SPACE))
        return similar_space(self.space)

    def fold_in(self) -> FoldIn:
        """See `Material`."""
        self._run.table(SEARCH_SPACE)
        return FoldIn.open(self._run.folder)

    def _likes(self, users: np.ndarray | None) -> pa.Table:
        """Triples of the target: positions of user and movie, split, timestamp; of some users, or of all."""
        starts = {Columns.HEAD: self._layout.range(USER)[0], Columns.TAIL: self._layout.range(MOVIE)[0]}
        wanted = pc.field(Columns.RELATION) == self._target.index
        if users is not None:
            wanted &= _among(Columns.HEAD, (users + starts[Columns.HEAD]).tolist())
        rows = self._read(TRIPLES, (Columns.HEAD, Columns.TAIL, Columns.SPLIT, Columns.TIMESTAMP), wanted)
        for name, start in starts.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, pc.subtract(rows[name], start))
        return rows

    def _read(self, name: str, columns: Sequence[str], where: Any = None) -> pa.Table:
        files = sorted(self._run.table(name).glob("*.parquet"))
        return ds.dataset(files, format="parquet").to_table(columns=list(columns), filter=where)


def _among(column: str, values: Collection[Any]) -> Any:
    return pc.field(column).isin(values)
