"""Final weights that have also learned from likes which were held out, once those have been measured."""

import torch

from kgspark.kge.training.plan import Graph
from kgspark.kge.training.state import TrainingState
from kgspark.kge.training.warm_start import WarmStart

# Weights that are already good want smaller steps.
_CONTINUED_RATE = 0.5


def continue_on_all(graph: Graph, model: torch.nn.Module) -> None:
    """One more epoch of the model on `settings.learned_splits`, at half the step size, falling to zero."""
    settings = graph.settings
    objective = graph.objective(model, settings.learned_splits)
    rate = _CONTINUED_RATE * settings.learning_rate
    # Its number goes on from the training's, so that it repeats no epoch's shuffle.
    objective.epoch(settings.epochs + 1, lambda share: rate * (1 - share))


def train_anew(graph: Graph, epochs: int, device: torch.device, initial: WarmStart | None) -> torch.nn.Module:
    """A new model, trained on `settings.learned_splits` for as many epochs as validation found best."""
    splits = graph.settings.learned_splits
    model = graph.new_model(splits, device, initial)
    state = TrainingState(model, graph.objective(model, splits), graph.settings)
    for number in range(epochs):
        state.objective.epoch(number + 1, graph.rate_after(number))
        state.average_weights(number)
    state.take_average()
    return model
