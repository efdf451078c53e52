"""Trains the encoder of histories, after the model: the model's movies stay as they are."""

from collections.abc import Sequence

import torch

from kgspark.kge.export.search_space import target_vectors
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.objectives.next_likes import NextLikes
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.warm_start import WarmStart

# Few steps are not enough, so small data are passed more often.
_LEAST_STEPS = 80
# The step size rises over this many first steps: Adam's first ones are all of full size.
_RISING = 10
# The step size of a pass over trained maps, relative to `history.learning_rate`.
_CONTINUED_RATE = 0.5


def train_encoder(
    plan: TrainingPlan, model: torch.nn.Module, splits: Sequence[str], initial: WarmStart | None
) -> HistoryEncoder:
    """An encoder for the model, trained on the likes of `splits`; it continues that of an earlier night."""
    objective = _objective(plan, model, None, splits)
    if initial is not None and initial.apply_maps(objective.encoder):
        _run(objective, 1, _CONTINUED_RATE * plan.settings.history.learning_rate)
        return objective.encoder
    passes = max(plan.settings.history.epochs, -(-_LEAST_STEPS // max(objective.steps(), 1)))
    _run(objective, passes, plan.settings.history.learning_rate)
    return objective.encoder


def continue_on(
    plan: TrainingPlan, model: torch.nn.Module, encoder: HistoryEncoder, splits: Sequence[str]
) -> HistoryEncoder:
    """A copy of the encoder after one more pass, over the likes of `splits` and with the movies of `model`."""
    objective = _objective(plan, model, encoder.copy(), splits)
    _run(objective, 1, _CONTINUED_RATE * plan.settings.history.learning_rate)
    return objective.encoder


def _objective(
    plan: TrainingPlan, model: torch.nn.Module, encoder: HistoryEncoder | None, splits: Sequence[str]
) -> NextLikes:
    items = target_vectors(model, plan.graph, plan.settings)[1]
    encoder = encoder or HistoryEncoder.start(items, plan.settings.history.half_lives)
    return NextLikes(encoder, items, plan.graph.histories(plan.target, splits), plan.settings)


def _run(objective: NextLikes, passes: int, rate: float) -> None:
    """All passes, with a step size that rises in the first steps and then falls to zero."""
    steps = max(objective.steps(), 1)
    for number in range(passes):

        def rate_at(done: float, number: int = number) -> float:
            rising = min(1.0, (number * steps + done * steps + 1) / _RISING)
            return rate * rising * (1 - (number + done) / passes)

        objective.epoch(number + 1, rate_at)
