"""Lists, similar movies and explanations from a night, for a notebook or a service. Nothing is trained."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kgspark.answers.explaining import Explanation, explain
from kgspark.answers.frames import Frames, as_frame, checked_frames, find_positions, positions_of
from kgspark.answers.lake import Lake
from kgspark.answers.lake_night import LakeNight
from kgspark.answers.material import Material
from kgspark.answers.night_material import NightMaterial
from kgspark.answers.ranking import MovieRanking, Queries, SimilarRanking
from kgspark.answers.titles import find_movie
from kgspark.errors import InputError
from kgspark.graph.histories import Histories
from kgspark.names import Names
from kgspark.spark.ranking.settings import REST
from kgspark.tables import AVERAGE, SOURCES, Columns

Id = int | str


class Recommender:
    """Answers with the vectors, candidates and columns of a night.

    Frames have the columns of the published tables, with your names (`names.user_id`, ...) and values of their types:
    rank int32 from 1, score float32.
    """

    def __init__(self, material: Material, frames: Frames = "pandas") -> None:
        """frames  the kind of all frames: pandas, arrow or polars."""
        self._material, self.frames = material, checked_frames(frames)

    @classmethod
    def load(
        cls, night: LakeNight | str | Path, frames: Frames = "pandas", names: Names | None = None
    ) -> "Recommender":
        """The recommender of a night that has been ranked, or of the newest published one of a lake.

        night  a night of `Lake`, or the path or URI of a lake
        names  your words, for errors; the columns are those of the night in any case

        Raises InputError or StageError if the night, or a table of it, is missing.
        """
        found = night if isinstance(night, LakeNight) else Lake(night).latest()
        return cls(NightMaterial(found, names), frames)

    def __repr__(self) -> str:
        space = self._material.space
        counts = f"{len(space.queries):,} users, {len(space.items):,} movies, {space.items.shape[1]} numbers"
        return f"{type(self).__name__}({self._material.described.origin}: {space.model_id}, {counts})"

    @property
    def date(self) -> str:
        """The date of the night, YYYY-MM-DD."""
        return self._material.described.date

    @property
    def names(self) -> Names:
        """Your words, and your names of the published columns."""
        return self._material.described.names

    @property
    def model_id(self) -> str:
        """The name of the weights that rank."""
        return self._material.space.model_id

    @property
    def user_ids(self) -> np.ndarray:
        """External ids, int64 or object (users,), in the order of `user_vectors`."""
        return self._material.user_ids.to_numpy(zero_copy_only=False)

    @property
    def item_ids(self) -> np.ndarray:
        """External ids, int64 or object (movies,), in the order of `item_vectors`."""
        return self._material.movie_ids.to_numpy(zero_copy_only=False)

    @property
    def user_vectors(self) -> np.ndarray:
        """The queries, float32 (users, d)."""
        return self._material.space.queries

    @property
    def item_vectors(self) -> np.ndarray:
        """The items, float32 (movies, d)."""
        return self._material.space.items

    def recommend(
        self,
        users: Sequence[Id] | np.ndarray | Id | None = None,
        k: int | None = None,
        filter_viewed: bool = True,
        items_to_recommend: Sequence[Id] | np.ndarray | None = None,
    ) -> Any:
        """The best movies of each user, as the night publishes them: the same ids, ranks and bits of the scores.

        users  external ids, whose order the frame has, or one id; None for all, in the order of the published table
        k      length of a list; None for that of the night
        filter_viewed  leaves out what the user has rated or seen
        items_to_recommend  external ids of the only movies that may be listed; None for all. The night's candidates
               hold in any case

        The search is always exact, and business rules hold. Raises InputError for an id that the night does not know.
        """
        described = self._material.described
        positions = np.arange(len(self._material.user_ids))
        if users is not None:
            hint = "; fold_in(likes) makes a list for anyone"
            asked = [users] if isinstance(users, Id) else users
            positions = positions_of(asked, self._material.user_ids, described.names.user, described.origin, hint)
        pairs = self._material.pairs(positions)
        seen = pairs.seen if filter_viewed else Histories.empty(len(positions))
        queries = Queries(positions, self._material.user_ids.take(pa.array(positions)), seen, pairs.liked)
        table = self._ranking.recommend(queries, _length(k, described.k), self._movies(items_to_recommend))
        return as_frame(table, self.frames)

    def similar_items(self, items: Sequence[Id] | np.ndarray | Id, k: int | None = None) -> Any:
        """The movies that are most like each of the `items`, by the cosine of their vectors, as `similar_items` has it.

        items  external ids, or one of them
        """
        movies = self._movie_positions([items] if isinstance(items, Id) else items)
        return as_frame(self._similar.similar(movies, _length(k, self._material.described.similar_k)), self.frames)

    def fold_in(
        self,
        likes: Sequence[Id] | np.ndarray | Mapping[Id, Sequence[Id]],
        k: int | None = None,
        times: Sequence[float] | None = None,
        segment: str = REST,
        items_to_recommend: Sequence[Id] | np.ndarray | None = None,
    ) -> Any:
        """The best movies for who likes these, without the liked ones; nobody needs to be in the night.

        likes    external ids of movies, the latest last; or such a list for each of several users, by any id. Movies
                 that the night does not know, or that have no vector, are left out
        times    of the likes of one user, instead of their order
        segment  whose candidates are offered

        The frame of one user has no column for the user. Raises InputError if nothing is left of the likes, or if the
        model has no function of likes.
        """
        several = likes if isinstance(likes, Mapping) else {"": likes}
        if times is not None and isinstance(likes, Mapping):
            raise InputError("fold_in: times are for the likes of one user; give the latest like last instead")
        folded = [self._known_likes(liked, times) for liked in several.values()]
        histories = Histories.from_sizes(
            [len(movies) for movies, _ in folded],
            np.concatenate([movies for movies, _ in folded]),
            times=None if times is None else np.concatenate([at for _, at in folded]),
        )
        vectors = self._fold.queries(histories)
        ids = pa.array([str(user) for user in several])
        by_position = Histories.of([np.sort(movies) for movies, _ in folded])
        queries = Queries(np.arange(len(folded)), ids, by_position, by_position)
        length, among = _length(k, self._material.described.k), self._movies(items_to_recommend)
        try:
            table = self._ranking.for_vectors(vectors, queries, length, segment, among)
        except KeyError:
            known = ", ".join(self._ranking.segments)
            raise InputError(f"fold_in: no segment {segment!r}; expected one of {known}") from None
        if not isinstance(likes, Mapping):
            table = table.drop_columns([self._material.described.names.column(Columns.USER_ID)])
        return as_frame(table, self.frames)

    def explain(self, user: Id, movie: Id | str, nearest: int = 5) -> Explanation:
        """Why a movie has its score for a user; see `Explanation`.

        movie    an external id, or the beginning of a title that no other movie has
        nearest  number of liked movies to show
        """
        return explain(self._material, self._ranking, self.find_user(user), self.find_movie(movie), nearest)

    def history(self, user: Id) -> Any:
        """The ratings of a user, the latest first: movie_id, rating, timestamp (seconds since 1970)."""
        return as_frame(self._material.ratings(self.find_user(user)), self.frames)

    def title(self, movie: Id | None) -> str | None:
        """The title of the movie with an external id; None if the data has none."""
        return self._material.titles().get(movie)

    def id_of_user(self, position: int) -> Id:
        """The external id of the user at a position."""
        return self._material.user_ids[position].as_py()

    def id_of_movie(self, position: int) -> Id:
        """The external id of the movie at a position."""
        return self._material.movie_ids[position].as_py()

    def find_user(self, user: Id) -> int:
        """The position of the user with an external id; InputError if there is none."""
        (place,) = positions_of([user], self._material.user_ids, self.names.user, self._material.described.origin)
        return int(place)

    def find_movie(self, movie: Id | str) -> int:
        """The position of a movie, given by its id or by the beginning of its title.

        Raises InputError if there is none, or with the matches if there are several.
        """
        return find_movie(self._material, movie)

    def _known_likes(self, liked: Any, times: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
        """Positions and times of the likes whose movie the night knows; one of them has a vector."""
        positions = find_positions(liked, self._material.movie_ids)
        at = np.arange(len(positions), dtype=np.float64) if times is None else np.asarray(times, np.float64)
        if len(at) != len(positions):
            raise InputError(f"fold_in: {len(at)} times for {len(positions)} likes")
        known = positions >= 0
        if not (self._material.space.item_sources[positions[known]] != SOURCES.index(AVERAGE)).any():
            given, origin = f"{len(positions)} {self.names.movies}", self._material.described.origin
            raise InputError(f"fold_in: none of the {given} has a vector in {origin}")
        return positions[known], at[known]

    def _movies(self, items: Sequence[Id] | np.ndarray | None) -> np.ndarray | None:
        return None if items is None else np.unique(self._movie_positions(items))

    def _movie_positions(self, items: Sequence[Id] | np.ndarray) -> np.ndarray:
        return positions_of(items, self._material.movie_ids, self.names.movie, self._material.described.origin)

    @cached_property
    def _ranking(self) -> MovieRanking:
        return MovieRanking(self._material)

    @cached_property
    def _similar(self) -> SimilarRanking:
        return SimilarRanking(self._material)

    @cached_property
    def _fold(self) -> Any:
        return self._material.fold_in()


def _length(k: int | None, usual: int) -> int:
    if k is not None and k < 1:
        raise InputError(f"k: expected an integer ≥ 1, found {k!r}")
    return usual if k is None else int(k)
