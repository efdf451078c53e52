"""Held-out likes, and the evaluation of one recommender on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.graph.layout import MOVIE
from kgspark.graph.shards import read_graph
from kgspark.metrics.beyond_accuracy import beyond_accuracy
from kgspark.metrics.bootstrap import intervals
from kgspark.metrics.link import filtered_ranks, link_metrics
from kgspark.metrics.ranking import hit_matrix, ranking_metrics
from kgspark.metrics.rarity import recall_by_popularity
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.night import Night
from kgspark.night.reads import knowledge_graph
from kgspark.peers.baselines import Recommender
from kgspark.retrieval.topk import top_k_of_scores
from kgspark.runs import Run
from kgspark.search_space import SearchSpace
from kgspark.tables import MODEL, TEST, TRAIN, TRIPLES, VALID

# Scores in memory at once: 32 MiB of float32, and a few times as much while they are ranked.
_CELLS = 1 << 23


@dataclass(frozen=True)
class HeldOut:
    """Likes of all users, by movie position.

    train   the likes that a model is fitted on
    hidden  likes for neither training nor test; they are left out of the lists, as those of train are
    test    the likes to find
    known   likes of users that a model is not fitted on, for whom it makes lists from these; None if there are none
    """

    train: Histories
    hidden: Histories
    test: Histories
    movies: int
    known: Histories | None = None

    @property
    def histories(self) -> Histories:
        """The likes that lists are made from."""
        return self.train if self.known is None else self.train | self.known

    @property
    def test_users(self) -> np.ndarray:
        """Users with at least one test like, int64."""
        return np.flatnonzero(self.test.sizes)

    def to_json(self) -> dict[str, int]:
        """Counts of users, movies and likes."""
        return {
            "users": len(self.train),
            "movies": self.movies,
            "train": len(self.train.indices),
            "hidden": len(self.hidden.indices),
            **({} if self.known is None else {"known": len(self.known.indices)}),
            "test": len(self.test.indices),
            "test_users": len(self.test_users),
        }


@dataclass(frozen=True)
class Measured:
    """Metrics of one recommender.

    by_user        metric to float64 (test users,)
    by_popularity  recall by the number of training likes of a movie
    """

    by_user: Mapping[str, np.ndarray]
    figures: Mapping[str, float]
    by_popularity: Mapping[str, Mapping[str, float]]

    def row(self, held_out: HeldOut, settings: EvaluateSettings, seed: int) -> dict[str, Any]:
        """Means, their 95 % intervals over users, means by length of history, and recall by popularity of the movie."""
        row: dict[str, Any] = {name: float(values.mean()) for name, values in self.by_user.items()}
        row |= self.figures
        row["ci95"] = intervals(self.by_user, settings.resamples, seed)
        row["by_history"] = _by_history(self.by_user, held_out.histories.sizes[held_out.test_users], settings)
        row["by_popularity"] = self.by_popularity
        return row

    def lead(self, other: "Measured", settings: EvaluateSettings, seed: int) -> dict[str, Any]:
        """Mean difference between these metrics and another recommender's, user by user, with its 95 % interval."""
        differences = {name: values - other.by_user[name] for name, values in self.by_user.items()}
        limits = intervals(differences, settings.resamples, seed)
        return {
            name: {"mean": float(values.mean())} | ({"ci95": limits[name]} if limits else {})
            for name, values in differences.items()
        }


def read_held_out(night: Night, train_splits: tuple[str, ...] = (TRAIN, VALID)) -> HeldOut:
    """The target relation's likes from the triples; StageError if the split holds nothing out."""
    graph = knowledge_graph(night)
    target = graph.relation(night.settings.train.target)

    def likes(*splits: str) -> Histories:
        return graph.histories(target, splits)

    hidden = likes(*(split for split in (TRAIN, VALID) if split not in train_splits))
    test = likes(TEST)
    if not len(test.indices):
        raise StageError(
            f"split.protocol={night.settings.split.protocol} holds out no like, so nothing can be evaluated"
        )
    return HeldOut(likes(*train_splits), hidden, test, graph.layout.count(MOVIE))


def space_before_refit(run: Run, known: Sequence[str] = (TRAIN, VALID)) -> SearchSpace:
    """The vectors of a night's model before the refit, which learns the held-out likes.

    known  splits whose likes stand in the users' histories: those that precede the likes to find
    """
    from kgspark.kge.export.model_files import load_model, measured_file
    from kgspark.kge.export.search_space import export_search_space

    saved = load_model(measured_file(run.table(MODEL)))
    graph = read_graph(run.table(TRIPLES), saved.layout, saved.relations)
    unrefitted = saved.settings.model_copy(update={"refit": "none"})
    return export_search_space(saved.build(), graph, unrefitted, saved.evidence, saved.encoder, known)


def space_at_times(run: Run) -> SearchSpace | None:
    """The vectors of a night's model, with queries that know the time of the user's test like.

    None if the model's encoder of histories does not read the time of the next like, or if queries do not lean.
    """
    from kgspark.kge.export.model_files import MODEL_FILE, load_model
    from kgspark.kge.export.search_space import export_search_space

    saved = load_model(run.table(MODEL) / MODEL_FILE)
    if saved.encoder is None or not saved.encoder.knows_when:
        return None
    graph = read_graph(run.table(TRIPLES), saved.layout, saved.relations)
    test = graph.histories(graph.relation(saved.settings.target), (TEST,))
    asked = np.zeros(len(test), np.int64 if test.times is None else test.times.dtype)
    asked[test.rows()] = 0 if test.times is None else test.times
    return export_search_space(saved.build(), graph, saved.settings, saved.evidence, saved.encoder, asked=asked)


def measure(recommender: Recommender, held_out: HeldOut, settings: EvaluateSettings) -> Measured:
    """Ranks, for every user with a test like, all movies except those that the user is already known to like."""
    seen, test_users = held_out.histories | held_out.hidden, held_out.test_users
    hits, ranks, lists = [], [], []
    step = max(1, _CELLS // max(held_out.movies, 1))
    for start in range(0, len(test_users), step):
        users = test_users[start : start + step]
        scores = recommender.scores(users)
        known, wanted = seen.pick(users), held_out.test.pick(users)
        ranking = top_k_of_scores(scores, known, max(settings.ks))
        lists.append(ranking.ids)
        hits.append(hit_matrix(ranking.ids, wanted.indptr, wanted.indices, held_out.movies))
        ranks.append(filtered_ranks(scores, known | wanted, wanted))
    found, listed = np.concatenate(hits), np.concatenate(lists)
    by_user = ranking_metrics(found, held_out.test.sizes[test_users], settings.ks)
    likes = held_out.train.counts(held_out.movies)
    figures = link_metrics(np.concatenate(ranks))
    figures |= beyond_accuracy(listed, likes, len(held_out.train), settings.ks)
    rarity = recall_by_popularity(listed, found, held_out.test.indices, likes, settings.popularity, settings.ks)
    return Measured(by_user, figures, rarity)


def _by_history(
    by_user: Mapping[str, np.ndarray], sizes: np.ndarray, settings: EvaluateSettings
) -> dict[str, dict[str, float]]:
    cold, heavy = settings.history
    groups = {"cold": sizes < cold, "warm": (sizes >= cold) & (sizes < heavy), "heavy": sizes >= heavy}
    return {
        group: {"users": int(chosen.sum())} | {name: float(values[chosen].mean()) for name, values in by_user.items()}
        for group, chosen in groups.items()
        if chosen.any()
    }
