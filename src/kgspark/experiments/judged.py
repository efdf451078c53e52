"""Metrics of the lists of past nights by the likes that followed, for each model and number of days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.experiments.list_ranks import LaterLikes
from kgspark.experiments.recommenders import OURS
from kgspark.metrics.bootstrap import intervals
from kgspark.metrics.ranking import ranking_metrics
from kgspark.night.evaluate_settings import EvaluateSettings

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """The lists of users who liked something that was in reach, in the first `days` after one night or several.

    users     external ids (L,), one per list
    by_model  model, ours first, to metric to float64 (L,)
    counts    numbers of likes, users and movies, as `count` has them; sums over the nights
    """

    days: int
    users: pa.Array
    by_model: Mapping[str, Mapping[str, np.ndarray]]
    counts: Mapping[str, int]

    def counted(self) -> dict[str, int]:
        """The counts, with the number of lists and of their users."""
        return {
            "days": self.days,
            **self.counts,
            "lists": len(self.users),
            "users": pc.count_distinct(self.users).as_py(),
        }

    def rows(self, settings: EvaluateSettings, seed: int) -> list[Row]:
        """A row per model: means over the lists, 95 % intervals over users, and our lead over each baseline.

        Without any list there is no metric, and no interval.
        """
        users = self.users.dictionary_encode().indices.to_numpy()
        rows = []
        for model, metrics in self.by_model.items():
            row = {"days": self.days, "model": model, "lists": len(self.users), **_means(metrics)}
            row["ci95"] = intervals(metrics, settings.resamples, seed, users=users)
            if model != OURS:
                lead = {name: self.by_model[OURS][name] - values for name, values in metrics.items()}
                limits = intervals(lead, settings.resamples, seed, users=users)
                row["lead"] = {
                    name: {"mean": mean} | ({"ci95": limits[name]} if limits else {})
                    for name, mean in _means(lead).items()
                }
            rows.append(row)
        return rows


def judge(later: LaterLikes, ranks: Mapping[str, np.ndarray], days: int, ks: Sequence[int]) -> Judged:
    """The lists of one night, judged by the likes of its first `days`.

    ranks  model to int64 (n,): the place of each later like in the model's lists, 0 outside
    """
    chosen = np.flatnonzero(later.reachable & (later.days <= days))
    _, first, rows = np.unique(later.users[chosen], return_index=True, return_inverse=True)
    likes = np.bincount(rows, minlength=len(first))
    by_model = {
        model: ranking_metrics(_hits(rows, of_model[chosen], len(first), max(ks)), likes, ks)
        for model, of_model in ranks.items()
    }
    return Judged(days, later.user_ids.take(pa.array(chosen[first])), by_model, count(later, days))


def pool(nights: Sequence[Judged]) -> Judged:
    """The lists of several nights together, for the same number of days."""
    by_model = {
        model: {name: np.concatenate([night.by_model[model][name] for night in nights]) for name in metrics}
        for model, metrics in nights[0].by_model.items()
    }
    counts = {name: sum(night.counts[name] for night in nights) for name in nights[0].counts}
    return Judged(nights[0].days, pa.concat_arrays([night.users for night in nights]), by_model, counts)


def count(later: LaterLikes, days: int) -> dict[str, int]:
    """The likes of the first `days`: of new users, of new movies by known users, and in reach, which sum up to all.

    Also the numbers of these new users and new movies. A new one had no rating before the date.
    """
    within = later.days <= days
    new_user, new_movie = within & (later.users < 0), within & (later.movies < 0)
    return {
        "likes": int(within.sum()),
        "likes_of_new_users": int(new_user.sum()),
        "likes_of_new_movies": int((new_movie & ~new_user).sum()),
        "likes_in_reach": int((within & later.reachable).sum()),
        "new_users": _count_distinct(later.user_ids, new_user),
        "new_movies": _count_distinct(later.movie_ids, new_movie),
    }


def _count_distinct(ids: pa.Array, chosen: np.ndarray) -> int:
    return int(pc.count_distinct(ids.filter(pa.array(chosen))).as_py())


def _hits(rows: np.ndarray, ranks: np.ndarray, users: int, k: int) -> np.ndarray:
    """Mask bool (users, k) of the listed places that were liked later."""
    hits, found = np.zeros((users, k), bool), ranks > 0
    hits[rows[found], ranks[found] - 1] = True
    return hits


def _means(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in metrics.items() if len(values)}
