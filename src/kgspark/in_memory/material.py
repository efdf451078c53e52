"""What lists are made of, from a model that was fitted in memory."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.answers.material import Described, Material, MovieFacts, Offer, UserPairs, sorted_histories
from kgspark.errors import InputError
from kgspark.fold_in import FoldIn, QueryFunction
from kgspark.graph.histories import Histories
from kgspark.graph.layout import MOVIE, USER
from kgspark.graph.triples import SPLITS
from kgspark.in_memory.graphs import NumberedGraph
from kgspark.in_memory.tables import CleanTables
from kgspark.kge.export.similar import similar_space
from kgspark.search_space import SearchSpace
from kgspark.spark.ranking.settings import REST
from kgspark.tables import MOVIES, Columns


class FittedMaterial(Material):
    """The graph, the vectors and the tables of a fit; every movie is offered to everybody."""

    def __init__(
        self,
        described: Described,
        clean: CleanTables,
        numbered: NumberedGraph,
        space: SearchSpace,
        function: QueryFunction | None,
        target: str,
        learned: Sequence[str],
    ) -> None:
        """target, learned  the relation of likes, and the splits of them that the queries have learned."""
        self.described, self.space = described, space
        self.user_ids, self.movie_ids = numbered.ids[USER], numbered.ids[MOVIE]
        self._clean, self._numbered, self._function = clean, numbered, function
        graph = numbered.graph
        relation = graph.relation(target)
        self._liked, self._learned = graph.histories(relation, SPLITS), graph.histories(relation, learned)
        self._seen = self._pairs_of_ratings()

    def pairs(self, users: np.ndarray) -> UserPairs:
        """See `Material`."""
        return UserPairs(self._seen.pick(users), self._liked.pick(users), self._learned.pick(users))

    def offers(self) -> Sequence[Offer]:
        """See `Material`."""
        return [Offer(REST, None, None)]

    def likes(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Material`."""
        return self._learned.rows(), self._learned.indices

    def ratings(self, user: int) -> pa.Table:
        """See `Material`."""
        rows = self._clean.ratings.filter(pc.field(Columns.USER_ID) == self.user_ids[user])
        if not self._clean.has_times:
            rows = rows.append_column(Columns.TIMESTAMP, pa.nulls(len(rows), pa.int64()))
        rows = rows.select([Columns.MOVIE_ID, Columns.RATING, Columns.TIMESTAMP])
        return rows.sort_by([(Columns.TIMESTAMP, "descending"), (Columns.MOVIE_ID, "ascending")])

    def titles(self) -> Mapping[object, str]:
        """See `Material`."""
        movies = self._clean.tables.get(MOVIES)
        if movies is None:
            return {}
        pairs = zip(movies[Columns.MOVIE_ID].to_pylist(), movies[Columns.TITLE].to_pylist(), strict=True)
        return {movie: title for movie, title in pairs if title}

    def facts(self, movies: np.ndarray) -> MovieFacts:
        """See `Material`."""
        graph, first = self._numbered.graph, self._numbered.graph.layout.range(MOVIE)[0]
        relations, heads, kinds, tails = [], [np.empty(0, np.int64)], [], []
        for relation in graph.relations:
            if relation.head_kind != MOVIE:
                continue
            pairs = graph.pairs(relation)
            rows = np.flatnonzero(np.isin(pairs.heads, movies + first))
            start = graph.layout.range(relation.tail_kind)[0]
            relations += [relation.name] * len(rows)
            kinds += [relation.tail_kind] * len(rows)
            heads.append(pairs.heads[rows] - first)
            of_tails = self._numbered.ids[relation.tail_kind].take(pa.array(pairs.tails[rows] - start))
            tails += of_tails.cast(pa.string()).to_pylist()
        named, of_kinds, of_ids = (np.array(texts, object) for texts in (relations, kinds, tails))
        return MovieFacts(named, np.concatenate(heads), of_kinds, of_ids)

    def similar_space(self) -> SearchSpace:
        """See `Material`."""
        return similar_space(self.space)

    def fold_in(self) -> FoldIn:
        """See `Material`."""
        if self._function is None:
            raise InputError(
                f"{self.described.origin}: no function of likes: a model that ranks by sums of distances (RotatE, "
                "TransE with norm 1) has none"
            )
        return FoldIn(self.space, self.movie_ids, self._function)

    def _pairs_of_ratings(self) -> Histories:
        ratings = self._clean.ratings
        columns = ((Columns.USER_ID, self.user_ids), (Columns.MOVIE_ID, self.movie_ids))
        rows, entries = (
            pc.index_in(ratings[key].combine_chunks(), value_set=ids).to_numpy(zero_copy_only=False).astype(np.int64)
            for key, ids in columns
        )
        return sorted_histories(rows, entries, len(self.user_ids))
