"""The temperature where validation likes are later than all that training knows (`split.protocol: time`).

What a user liked says less about such likes than about those of the same days, and what is popular says more. A softer
softmax ranks popular movies higher. So short trainings compare the temperature of the recipe with a multiple of it.
"""

from dataclasses import replace

import torch

from kgspark.kge.export.recency import all_later
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.short_trainings import compare
from kgspark.kge.training.warm_start import WarmStart
from kgspark.tables import VALID


def choose_temperature(
    plan: TrainingPlan, device: torch.device, initial: WarmStart | None
) -> tuple[TrainSettings, dict[str, float]]:
    """The settings with the chosen temperature, and NDCG@k of the short trainings; {} if nothing was to be chosen."""
    settings = plan.settings
    if settings.softer == 1 or settings.objective != "softmax":
        return settings, {}
    held_out = plan.held_out(VALID)
    # One like of each user is the very next one, for which the encoder of histories needs the sharper softmax.
    is_next = len(held_out.indices) <= (held_out.sizes > 0).sum()
    if is_next or not all_later(held_out, plan.graph.histories(plan.target)):
        return settings, {}
    softer = settings.model_copy(update={"temperature": settings.softer * settings.temperature})
    comparison = compare(plan, replace(plan, settings=softer), device, initial)
    return softer if comparison.prefers_other else settings, comparison.figures("softer")
