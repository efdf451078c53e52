"""Settings of `kgspark evaluate`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from kgspark.config import Settings
from kgspark.peers.baselines import BaselineName
from kgspark.peers.settings import PeerSettings

ProtocolName = Literal["random", "leave-one-out", "recbole", "time", "cold-users", "cold-movies", "files"]


class EvaluateSettings(Settings):
    """The evaluation on held-out likes (kgspark evaluate), compared with baselines."""

    protocol: ProtocolName | None = Field(
        None,
        description="random (85/15), leave-one-out, recbole (≥ 3, 10-core, 8:1:1), time (≥ 3, the last fifth), "
        "cold-users, cold-movies (a tenth without any like), files; null: the night's own split",
    )
    train: Path | None = Field(None, description="protocol files: lines of `user item item ...` to train on")
    test: Path | None = Field(None, description="protocol files: lines of `user item item ...` to test on")
    ids: Literal["own", "source"] = Field(
        "own",
        description="protocol files: source if the ids are those of source.path, to use its side tables; otherwise own",
    )
    seeds: tuple[int, ...] = Field((42,), min_length=1, description="seeds of split and training, one evaluation each")
    ks: tuple[PositiveInt, ...] = Field((10, 20, 100), min_length=1, description="lengths of the evaluated lists")
    baselines: tuple[BaselineName, ...] = Field(
        ("popularity", "item-knn", "ease"),
        description="models to compare with; also mllib-als, and with the extra bench implicit-als and implicit-bpr",
    )
    peers: PeerSettings = Field(default_factory=PeerSettings)
    history: tuple[PositiveInt, PositiveInt] = Field(
        (10, 100), description="number of training likes from which a user is no longer cold, and from which heavy"
    )
    popularity: tuple[PositiveInt, PositiveInt] = Field(
        (10, 100), description="number of training likes from which a movie is no longer rare, and from which popular"
    )
    resamples: int = Field(1000, ge=0, description="resamples of users, for the 95 % confidence intervals; 0 for none")

    @model_validator(mode="after")
    def _files_are_named(self) -> "EvaluateSettings":
        if self.protocol == "files" and (self.train is None or self.test is None):
            raise ValueError("protocol files needs evaluate.train and evaluate.test")
        return self
