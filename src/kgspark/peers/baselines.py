"""The baselines of an evaluation by name. Their packages are imported when they are fitted, not earlier.

A new baseline is a file with a function like those named here, and a line in `BASELINES`; if it has settings, also a
section of `PeerSettings`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from kgspark.config import OneOf
from kgspark.errors import ConfigError, ResourceError
from kgspark.extras import is_installed
from kgspark.graph.histories import Histories
from kgspark.peers.settings import PeerSettings
from kgspark.search_space import SearchSpace


class Recommender(Protocol):
    """Anything that scores the whole catalogue for a user."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M) of every movie for the users int64 (B,); higher is better, and no movie is left out."""


@runtime_checkable
class FoldsIn(Recommender, Protocol):
    """A recommender that can score for users that it was not fitted on."""

    def of(self, likes: Histories) -> Recommender:
        """The same model for users with other `likes`, in their order."""


@dataclass(frozen=True)
class Likes:
    """Everything that a baseline is fitted on.

    by_user  positions of the movies that each user likes, with times
    movies   number of movies in the catalogue
    session  returns the night's Spark session, and starts it if necessary
    """

    by_user: Histories
    movies: int
    settings: PeerSettings
    seed: int
    session: Callable[[], Any]


@dataclass(frozen=True)
class Baseline:
    """A peer that `kgspark evaluate` can compare with the model.

    function  "module:name" of a function from `Likes` to a recommender, or to vectors to rank by
    extra     the extra of this package that installs what the module imports; None if every night has it
    package   a package of that extra that the module imports
    folds_in  True if the recommender is a `FoldsIn`
    """

    function: str
    extra: str | None = None
    package: str | None = None
    folds_in: bool = False


BASELINES: dict[str, Baseline] = {
    "popularity": Baseline("kgspark.peers.popularity:fit", folds_in=True),
    "item-knn": Baseline("kgspark.peers.item_to_item:fit_item_knn", folds_in=True),
    "ease": Baseline("kgspark.peers.item_to_item:fit_ease", folds_in=True),
    "popularity-30d": Baseline("kgspark.peers.recent:fit_popularity"),
    "markov-chain": Baseline("kgspark.peers.recent:fit_markov_chain"),
    "mllib-als": Baseline("kgspark.peers.mllib_als:fit_likes"),
    "implicit-als": Baseline("kgspark.peers.implicit_models:fit_als", extra="bench", package="implicit"),
    "implicit-bpr": Baseline("kgspark.peers.implicit_models:fit_bpr", extra="bench", package="implicit"),
    "sasrec": Baseline("kgspark.peers.sasrec:fit"),
}


def check_packages(names: Iterable[str]) -> None:
    """ResourceError if one of these baselines needs a package that is not installed; before hours of training."""
    for name in names:
        baseline = BASELINES[name]
        if baseline.package is not None and not is_installed(baseline.package):
            raise _needs_extra(name, baseline)


def _needs_extra(name: str, baseline: Baseline) -> ResourceError:
    return ResourceError(
        f"evaluate.baselines: {name} needs the extra {baseline.extra}: pip install 'kgspark[{baseline.extra}]'"
    )


def fit_baseline(name: str, likes: Likes) -> Recommender | SearchSpace:
    """Fits one of `BASELINES`; ResourceError if its package is not installed."""
    baseline = BASELINES[name]
    try:
        fit = resolve_name(baseline.function)
    except ModuleNotFoundError:
        if baseline.extra is None:
            raise
        raise _needs_extra(name, baseline) from None
    recommender: Recommender | SearchSpace = fit(likes)
    return recommender


def fold_in(name: str, fitted: Recommender | SearchSpace, likes: Histories) -> Recommender:
    """The fitted baseline `name` for users with these likes; ConfigError if it has no lists for new users."""
    if not isinstance(fitted, FoldsIn):
        raise ConfigError(f"evaluate.baselines: {name} has no lists for users that it was not fitted on; leave it out")
    return fitted.of(likes)


BaselineName = Annotated[str, OneOf(BASELINES)]
