"""A new metric of lists needs a function and a line; then it is measured and printed everywhere."""

import numpy as np
import pytest

from kgspark.experiments.evaluate import summarise
from kgspark.graph.histories import Histories
from kgspark.metrics.ranking import METRICS, ListMetric
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.held_out import HeldOut, measure
from kgspark.report.figures import comparison


def last_place(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """1 if the last movie of the list was held out."""
    return hits[:, -1]


class InOrder:
    """Recommends the movies in the order of their positions."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        return np.broadcast_to(-np.arange(12, dtype=np.float32), (len(users), 12))


def test_a_new_metric_is_measured_for_every_user_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "last", ListMetric(last_place, shown=True))
    test = Histories(np.array([0, 1, 2]), np.array([9, 0]))  # the tenth movie, and the first
    held_out = HeldOut(Histories.empty(2), Histories.empty(2), test, movies=12)
    settings = EvaluateSettings(ks=(1, 10), resamples=10)
    measured = measure(InOrder(), held_out, settings)
    assert measured.by_user["last@10"].tolist() == [1, 0]
    assert measured.by_user["last@1"].tolist() == [0, 1]
    row = measured.row(held_out, settings, seed=1)
    assert row["last@10"] == 0.5
    assert set(row["ci95"]) >= {"last@10", "ndcg@10"}
    heading, line = comparison(summarise([{"model": "in order", "seed": 1, **row}])).splitlines()
    assert heading.split()[:4] == ["ndcg@10", "recall@10", "mrr@10", "last@10"]
    assert line.split()[5] == "0.5000"
