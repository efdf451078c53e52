"""The business rules as the audit sees them: from the settings and the table `rules`, not from the ranking's files."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.night.lists.rules import in_order_of_scores, rule_plan
from kgspark.night.night import Night
from kgspark.night.reads import has_rules, rule_tables
from kgspark.retrieval.rules.boosts import Boosts
from kgspark.retrieval.rules.caps import Caps
from kgspark.retrieval.rules.files import caps_of, numbers_of, read_movie_rules
from kgspark.retrieval.rules.plan import RulePlan
from kgspark.spark.frames import read_table
from kgspark.spark.ranking.audit.rules import RuleFacts
from kgspark.tables import RULES, Columns


def rule_facts(night: Night) -> RuleFacts | None:
    """The rules for the checks of every row; None if there are none."""
    if not has_rules(night):
        return None
    plan = rule_plan(night.settings.rules, night.settings.run_date)
    return RuleFacts(
        movies=read_table(night.spark, night.run.place(RULES)) if rule_tables(night) else None,
        at_most=plan.at_most,
        pins=night.settings.candidates.pins,
        draws=len(plan.explored_ranks(night.settings.recommend.k)),
        few=plan.few,
        by_score=in_order_of_scores(night.settings),
    )


@dataclass(frozen=True)
class MovieRules:
    """The rules for the checks of a sample, by the position of a movie when the model was trained."""

    plan: RulePlan
    boosts: Boosts | None
    caps: Caps | None

    @classmethod
    def of(cls, night: Night, movie_ids: pa.Array) -> "MovieRules | None":
        """The rules of the movies `movie_ids`; None if there are none."""
        if not has_rules(night):
            return None
        plan, boosts, caps = rule_plan(night.settings.rules, night.settings.run_date), None, None
        if rule_tables(night):
            movies = read_movie_rules(night.run.table(RULES))
            movies = movies.take(pc.index_in(movie_ids, value_set=movies[Columns.MOVIE_ID].combine_chunks()))
            boosts = Boosts.of(plan.boosts, numbers_of(movies, len(plan.boosts))) if plan.boosts else None
            caps = caps_of(movies, plan.at_most) if plan.at_most else None
        return cls(plan, boosts, caps)

    def final(self, scores: np.ndarray, movies: np.ndarray) -> np.ndarray:
        """The final scores float64 (n,) of movies with the model's `scores` float64 (n,)."""
        return scores if self.boosts is None else self.boosts.of_movies(scores, movies)

    def floors(self, listed: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Of each group, the final score float64 (G + 1,) up to which a list has no room for further movies.

        listed  int64 (n,): the movies of the list that count before others
        scores  float64 (n,): their final scores; infinite for movies that rules place

        That is the score of the movie that takes the last room; -inf for a group with room.
        """
        assert self.caps is not None
        floors = np.full(len(self.caps.limits), -np.inf)
        groups = self.caps.groups[listed]
        for group in np.unique(groups):
            limit, of_group = int(self.caps.limits[group]), np.sort(scores[(groups == group).any(axis=1)])
            if len(of_group) >= limit:
                floors[group] = of_group[len(of_group) - limit]
        return floors

    def without_room(self, movies: np.ndarray, scores: np.ndarray, floors: np.ndarray) -> np.ndarray:
        """Mask bool (n,) of movies with final scores float64 (n,) that have a group without room."""
        assert self.caps is not None
        return np.asarray((floors[self.caps.groups[movies]] >= scores[:, None]).any(axis=1))
