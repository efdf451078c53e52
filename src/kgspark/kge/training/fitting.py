"""Settings that are left to the graph's size: what `auto` becomes once it is known."""

from collections.abc import Sequence

from kgspark.graph.layout import EntityLayout
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training import memory
from kgspark.tables import Relation

# Tails up to which every head is compared with all of them; beyond, the products with tails that nobody of a batch
# likes take most of an epoch and teach little.
_MOST_TAILS = 32_768
_SAMPLED_TAILS = 8_192


def fitted(
    settings: TrainSettings, layout: EntityLayout, relations: Sequence[Relation], triples_count: int
) -> TrainSettings:
    """The settings with `negatives` a number: 0, or a sample where the widest tail kind is too wide.

    Too wide is more than 32,768 tails, or more than the memory that is free holds a step of.
    """
    if settings.negatives != "auto" or settings.objective != "softmax":
        return settings
    full = settings.model_copy(update={"negatives": 0})
    widest = max((layout.count(relation.tail_kind) for relation in relations), default=0)
    if widest <= _MOST_TAILS and memory.suffices(memory.estimate(full, layout, relations, triples_count)):
        return full
    return settings.model_copy(update={"negatives": min(_SAMPLED_TAILS, max(widest // 4, 1))})
