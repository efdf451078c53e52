"""Settings of `kgspark evaluate`."""

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from kgspark.config import IN_FILE, Settings
from kgspark.peers.baselines import BASELINES, BaselineName
from kgspark.peers.settings import PeerSettings

ProtocolName = Literal[
    "random", "leave-one-out", "recbole", "time", "next", "cold-users", "cold-movies", "fold-in", "files"
]

_BASELINES: tuple[str, ...] = ("popularity", "item-knn", "ease")
_BASELINES_OF_NIGHTS: tuple[str, ...] = ("popularity", "popularity-30d", "markov-chain", "mllib-als")


class EvaluateSettings(Settings):
    """The evaluation on held-out likes (kgspark evaluate), compared with baselines."""

    protocol: Literal[ProtocolName, "nights"] | None = Field(
        None,
        description="random (85/15), leave-one-out, recbole (≥ 3, 10-core, 8:1:1), time (≥ 3, the last fifth), "
        "next (every rating, 5-core, the latest), cold-users, cold-movies (a tenth without any like), fold-in (a tenth "
        "of the users: lists from four fifths of their likes, without training), files, nights (whole nights as of "
        "earlier dates, judged by the likes that followed); null: the night's own split",
    )
    train: Annotated[Path | None, IN_FILE] = Field(
        None, description="protocol files: lines of `user item item ...` to train on"
    )
    test: Annotated[Path | None, IN_FILE] = Field(
        None, description="protocol files: lines of `user item item ...` to test on"
    )
    sequences: Annotated[Path | None, IN_FILE] = Field(
        None,
        description="protocol next: a file of lines `user item item ...` in order of time, taken as it is, instead of "
        "the ratings of source.path",
    )
    ids: Literal["own", "source"] = Field(
        "own",
        description="of such files: source if the ids are those of source.path, to use its side tables; otherwise own",
    )
    positives: Literal["all", "target"] = Field(
        "all", description="protocol next: every rating counts as a like (all), or those that train.target selects"
    )
    core: PositiveInt = Field(
        5, description="protocol next: only users and movies with so many positives each are kept; 1 for all"
    )
    dates: tuple[datetime.date, ...] = Field(
        (),
        description="protocol nights: the dates of the nights; none: as many as `nights`, the longest of `days` apart, "
        "up to the latest one for which all `days` are known",
    )
    nights: PositiveInt = Field(4, description="protocol nights: number of nights if there are no `dates`")
    days: tuple[PositiveInt, ...] = Field(
        (1, 7, 30), min_length=1, description="protocol nights: the likes of so many days from the date on are judged"
    )
    seeds: tuple[int, ...] = Field(
        (42,), min_length=1, description="seeds of split and training, one evaluation each (not for nights)"
    )
    ks: tuple[PositiveInt, ...] = Field((10, 20, 100), min_length=1, description="lengths of the evaluated lists")
    baselines: tuple[BaselineName, ...] | None = Field(
        None,
        description="models to compare with; null: popularity, item-knn and ease; for protocol nights popularity, "
        "popularity-30d, markov-chain and mllib-als. Also sasrec; with the extra bench implicit-als and implicit-bpr",
    )
    peers: PeerSettings = Field(default_factory=PeerSettings)
    history: tuple[PositiveInt, PositiveInt] = Field(
        (10, 100), description="number of training likes from which a user is no longer cold, and from which heavy"
    )
    popularity: tuple[PositiveInt, PositiveInt] = Field(
        (10, 100), description="number of training likes from which a movie is no longer rare, and from which popular"
    )
    resamples: int = Field(1000, ge=0, description="resamples of users, for the 95 % confidence intervals; 0 for none")

    @property
    def compared(self) -> tuple[str, ...]:
        """The names of the baselines to compare with."""
        if self.baselines is not None:
            return self.baselines
        return _BASELINES_OF_NIGHTS if self.protocol == "nights" else _BASELINES

    @field_validator("dates", "days")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _files_are_named(self) -> "EvaluateSettings":
        if self.protocol == "files" and (self.train is None or self.test is None):
            raise ValueError("protocol files needs evaluate.train and evaluate.test")
        if self.protocol == "next" and self.sequences is not None and self.positives == "target":
            raise ValueError("evaluate.sequences has no ratings to choose by; leave out evaluate.positives=target")
        if self.protocol == "fold-in":
            unable = [name for name in self.compared if not BASELINES[name].folds_in]
            if unable:
                able = ", ".join(name for name, baseline in BASELINES.items() if baseline.folds_in)
                raise ValueError(
                    f"baselines: {', '.join(unable)} cannot make lists for users that they were not fitted on, as "
                    f"protocol fold-in needs; {able} can"
                )
        return self
