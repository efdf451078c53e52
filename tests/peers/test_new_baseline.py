"""A new baseline needs a file and a line: here this file, and `monkeypatch.setitem` for the line."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgspark import config
from kgspark.experiments import evaluate
from kgspark.graph.histories import Histories
from kgspark.night.night import LazySession, Night
from kgspark.night.settings import NightSettings
from kgspark.peers.baselines import BASELINES, Baseline, Likes
from nights import configuration


class LastMovies:
    """Recommends the movies with the highest ids."""

    def __init__(self, movies: int) -> None:
        self._movies = movies

    def scores(self, users: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.arange(self._movies, dtype=np.float32), (len(users), self._movies))


def fit(likes: Likes) -> LastMovies:
    assert isinstance(likes.by_user, Histories)
    assert likes.seed == 1
    return LastMovies(likes.movies)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Three users; their test likes are the last, the last and the first of eight movies."""
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("u0 i1 i2 i0\nu1 i2 i3 i0\nu2 i3 i4 i5 i6 i7\n", encoding="utf-8")
    test.write_text("u0 i7\nu1 i7\nu2 i0\n", encoding="utf-8")
    return configuration(
        tmp_path,
        source={"path": str(tmp_path)},
        lake=str(tmp_path / "lake"),
        train={"dim": 4, "epochs": 1},
        evaluate={
            "protocol": "files",
            "train": str(train),
            "test": str(test),
            "seeds": [1],
            "ks": [1, 2],
            "baselines": ["popularity", "last"],
            "resamples": 0,
        },
    )


def test_a_new_baseline_is_measured_with_the_others(spark: Any, monkeypatch: pytest.MonkeyPatch, conf: Path) -> None:
    monkeypatch.setitem(BASELINES, "last", Baseline(f"{__name__}:fit"))
    said: list[str] = []
    night = Night(config.load(NightSettings, conf), said.append, LazySession(ExitStack(), spark))
    answer = evaluate.run(night)
    row = json.loads(json.dumps(answer))["rows"][2]
    assert row["model"] == "last"
    assert row["recall@1"] == pytest.approx(2 / 3)
    assert "last" in said[-1]
