"""Whether training learns the side relations: what movies and users are, besides what they liked.

With `train.side_relations: auto`, two short trainings are compared by the validation likes, one with these relations
and one without. Those that are left out still state facts (`export.facts`), as relations of weight 0 do, so movies
without likes have a vector either way.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from kgspark.graph.graph import Graph
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.short_trainings import compare
from kgspark.kge.training.warm_start import WarmStart


@dataclass(frozen=True)
class SideRelations:
    """What was decided.

    names    of the side relations that have a weight
    learned  whether training learns them
    figures  that decided: NDCG@k of the validation likes with them and without, and the number of users; {} if nothing
             had to be compared
    """

    names: tuple[str, ...]
    learned: bool
    figures: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self) | {"names": list(self.names)}


def choose_side_relations(
    plan: TrainingPlan, device: torch.device, initial: WarmStart | None
) -> tuple[Graph, SideRelations]:
    """The graph to train on, in which relations that are left out have the weight 0."""
    graph, wanted = plan.graph, plan.settings.side_relations
    names = _names(plan)
    if wanted == "always" or not names:
        return graph, SideRelations(names, True, {})
    without = graph.weighted(dict.fromkeys(names, 0.0))
    if wanted == "never":
        return without, SideRelations(names, False, {})
    comparison = compare(plan, replace(plan, graph=without), device, initial)
    learned = not comparison.prefers_other
    return graph if learned else without, SideRelations(names, learned, comparison.figures("without"))


def _names(plan: TrainingPlan) -> tuple[str, ...]:
    """The relations with a weight that are made neither from ratings nor from likes."""
    target = plan.target
    return tuple(
        relation.name
        for relation in plan.graph.relations
        if (relation.head_kind, relation.tail_kind) != (target.head_kind, target.tail_kind)
        and not relation.of_likes
        and (plan.graph.pairs(relation).weights > 0).any()
    )
