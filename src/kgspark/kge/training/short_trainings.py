"""Short trainings: what the night's training would be, in a quarter of its epochs, to choose a setting by."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from kgspark.kge.export.evaluation import metrics_by_user
from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.model.two_tower import metric_of
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.warm_start import WarmStart
from kgspark.tables import TRAIN, VALID

# The epochs of a short training, relative to those of the night's, and at least so many.
_FRACTION, _LEAST_EPOCHS = 0.25, 3
# The other plan must be better by so many standard errors of the mean over users.
_STANDARD_ERRORS = 1.0


@dataclass(frozen=True)
class Comparison:
    """NDCG@k float64 (users,) of the validation likes, by the plan as it is and by another one."""

    given: np.ndarray
    other: np.ndarray
    k: int

    @property
    def prefers_other(self) -> bool:
        """True if the other plan is clearly better."""
        lead = self.other - self.given
        return len(lead) > 1 and bool(lead.mean() > _STANDARD_ERRORS * lead.std(ddof=1) / np.sqrt(len(lead)))

    def figures(self, other: str) -> dict[str, float]:
        """The number of users, and the means; that of the other plan has the suffix `other`. {} without users."""
        if not len(self.given):
            return {}
        name = f"ndcg@{self.k}"
        return {
            "users": len(self.given),
            name: float(self.given.mean()),
            f"{name}_{other}": float(self.other.mean()),
        }


def compare(given: TrainingPlan, other: TrainingPlan, device: torch.device, initial: WarmStart | None) -> Comparison:
    """Trains both shortly, one after the other."""
    of_given, of_other = (_figures(plan, device, initial) for plan in (given, other))
    return Comparison(of_given, of_other, given.settings.validation.k)


def _figures(plan: TrainingPlan, device: torch.device, initial: WarmStart | None) -> np.ndarray:
    """NDCG@k float64 (users,) after a few epochs whose step size falls to zero."""
    epochs = min(plan.settings.epochs, max(_LEAST_EPOCHS, round(_FRACTION * plan.settings.epochs)))
    plan = replace(plan, settings=plan.settings.model_copy(update={"epochs": epochs}))
    model = plan.new_model((TRAIN,), device, initial)
    objective = plan.objective(model, (TRAIN,))
    for number in range(epochs):
        objective.epoch(number + 1, plan.rate_after(number))
    plan.inform(model, (TRAIN,))
    queries, items = target_vectors(model, plan.graph, plan.settings)
    held_out, known, k = plan.held_out(VALID), plan.graph.histories(plan.target), plan.settings.validation.k
    return metrics_by_user(queries, items, metric_of(plan.settings), held_out, known, (k,))[f"ndcg@{k}"]
