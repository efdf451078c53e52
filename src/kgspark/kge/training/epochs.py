"""The epochs of a training, until all are done or validation finds no better weights."""

from collections.abc import Callable
from time import perf_counter

from kgspark.errors import StageError
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.run_folder import Epoch
from kgspark.kge.training.state import TrainingState
from kgspark.tables import TRAIN, VALID

Progress = Callable[[Epoch], None]


def run_epochs(
    plan: TrainingPlan, state: TrainingState, log: Progress, save: Callable[[], None], progress: Progress | None = None
) -> None:
    """Trains from `state` to the end; calls `log` and `progress` after every epoch, `save` when a checkpoint is due.

    Raises StageError if the loss is no longer finite. An exception from `progress` ends the training.
    """
    settings = plan.settings
    while state.epoch < settings.epochs and state.stale < settings.validation.patience:
        begun, number = perf_counter(), state.epoch + 1
        loss = state.objective.epoch(number, plan.rate_after(state.epoch))
        if not loss < float("inf"):  # NaN compares false
            raise StageError(f"training diverged in epoch {number} (loss {loss}); lower train.learning_rate")
        state.average_weights(state.epoch)
        ndcg = None
        if number % settings.validation.every == 0 or number == settings.epochs:
            with state.averaged():
                ndcg = plan.evaluate(state.model, VALID, (TRAIN,)).get(f"ndcg@{settings.validation.k}")
        record = Epoch(number, loss, ndcg, plan.rate_after(number)(0.0), perf_counter() - begun)
        state.record(record)
        log(record)
        if settings.checkpoint_every and number % settings.checkpoint_every == 0:
            save()
        if progress is not None:
            progress(record)
