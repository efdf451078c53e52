"""Trains the encoder of histories, after the model: the model's movies stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.model.encoders import start_encoder
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.history_network import HistoryNetwork
from kgspark.kge.model.history_sums import DecayedSums
from kgspark.kge.objectives.next_likes import NextLikes
from kgspark.kge.objectives.next_likes_network import NextLikesByNetwork
from kgspark.kge.settings import HistorySettings
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.warm_start import WarmStart

# The step size of a pass over trained tables, relative to that of a new training.
_CONTINUED_RATE = 0.5
# The step size rises over this many first steps: Adam's first ones are all of full size.
_RISING = 10


@dataclass(frozen=True)
class _Course:
    """How an encoder is trained.

    rate, passes  the first step size, and the passes over all places
    least         steps that are needed at least: small data are passed more often
    rising        first steps over which the step size rises, but a quarter of all at most
    """

    rate: float
    passes: int
    least: int
    rising: int


def train_encoder(
    plan: TrainingPlan,
    model: torch.nn.Module,
    splits: Sequence[str],
    initial: WarmStart | None,
    before: int | None = None,
) -> HistoryEncoder:
    """An encoder for the model, trained on the likes of `splits`; it continues that of an earlier night.

    before  only likes before this time, in seconds since 1970, are learned, and no earlier night's encoder is continued
    """
    course = _course(plan.settings.history)
    encoder = start_encoder(_items(plan, model), plan.settings)
    objective = _objective(plan, model, encoder, splits, before)
    if before is None and initial is not None and initial.apply_encoder(encoder):
        _run(objective, 1, _CONTINUED_RATE * course.rate)
        return encoder
    steps = max(objective.steps(), 1)
    passes = max(course.passes, -(-course.least // steps))
    _run(objective, passes, course.rate, min(course.rising, passes * steps // 4))
    return encoder


def continue_on(
    plan: TrainingPlan, model: torch.nn.Module, encoder: HistoryEncoder, splits: Sequence[str]
) -> HistoryEncoder:
    """A copy of the encoder after one more pass, over the likes of `splits` and with the movies of `model`."""
    course, continued = _course(plan.settings.history), encoder.copy()
    _run(_objective(plan, model, continued, splits), 1, _CONTINUED_RATE * course.rate)
    return continued


def _course(settings: HistorySettings) -> _Course:
    if settings.encoder == "network":
        return _Course(settings.network.learning_rate, settings.network.epochs, least=200, rising=100)
    return _Course(settings.learning_rate, settings.epochs, least=80, rising=_RISING)


def _items(plan: TrainingPlan, model: torch.nn.Module) -> torch.Tensor:
    return target_vectors(model, plan.graph, plan.settings)[1]


def _objective(
    plan: TrainingPlan,
    model: torch.nn.Module,
    encoder: HistoryEncoder,
    splits: Sequence[str],
    before: int | None = None,
) -> NextLikes | NextLikesByNetwork:
    """The objective that trains the encoder's tables in place."""
    items, likes = _items(plan, model), plan.graph.histories(plan.target, splits)
    if before is not None and likes.times is not None:
        likes = likes.where(likes.times < before)
    if isinstance(encoder, HistoryNetwork):
        return NextLikesByNetwork(encoder, items, likes, plan.settings)
    if isinstance(encoder, DecayedSums):
        return NextLikes(encoder, items, likes, plan.settings)
    raise TypeError(f"no objective trains {type(encoder).__name__}")


def _run(objective: NextLikes | NextLikesByNetwork, passes: int, rate: float, rising: int = _RISING) -> None:
    """All passes, with a step size that rises in the first steps and then falls to zero."""
    steps = max(objective.steps(), 1)
    for number in range(passes):

        def rate_at(done: float, number: int = number) -> float:
            risen = min(1.0, (number * steps + done * steps + 1) / rising)
            return rate * risen * (1 - (number + done) / passes)

        objective.epoch(number + 1, rate_at)
