"""From trained weights to the search space that retrieval ranks with."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from kgspark.entity_layout import EntityLayout
from kgspark.errors import StageError
from kgspark.kge import models
from kgspark.kge.settings import TrainSettings
from kgspark.kge.shards import TripleSet
from kgspark.search_space import SearchSpace
from kgspark.tables import Relation

# Rows translated at once: bounds the temporary copies of large tables.
_BLOCK_ROWS = 1 << 16


def export_search_space(
    model: torch.nn.Module,
    layout: EntityLayout,
    relations: Sequence[Relation],
    settings: TrainSettings,
    triples: TripleSet,
) -> SearchSpace:
    """Queries and items of the target relation, which rank exactly as the model's `score_triples`.

    A user without a like that training read gets the mean query of those who have one, and known = False.
    """
    target = target_relation(relations, settings)
    queries, items = target_vectors(model, layout, target, settings)
    users = queries.cpu().numpy().astype(np.float32, copy=False)
    known = np.diff(triples.csr(target, layout, settings.learned_splits).indptr) > 0
    if known.any() and not known.all():
        users = users.copy()
        users[~known] = users[known].mean(axis=0, dtype=np.float64).astype(np.float32)
    movies = items.cpu().numpy().astype(np.float32, copy=False)
    digest = hashlib.sha256()
    for array in (users, movies, known):
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    model_id = f"{settings.model}-{digest.hexdigest()[:12]}"
    return SearchSpace(users, movies, known, models.metric_of(settings), models.offset_of(model), model_id)


def target_relation(relations: Sequence[Relation], settings: TrainSettings) -> Relation:
    """The relation that is recommended from; StageError where the graph does not have it."""
    for relation in relations:
        if relation.name == settings.target:
            return relation
    names = ", ".join(relation.name for relation in relations) or "none"
    raise StageError(f"train.target: the graph has no relation {settings.target!r}; it has {names}")


def target_vectors(
    model: torch.nn.Module, layout: EntityLayout, target: Relation, settings: TrainSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Translated queries (heads, width) and effective items (tails, width), on the model's device."""
    tables = models.parameters_by_table(model)
    relation = {name: tables[name][target.index, None] for name in models.relation_tables(settings)}
    entities = {name: tables[name] for name in models.entity_tables(settings)}

    def blocks(kind: str) -> list[models.Rows]:
        start, stop = layout.range(kind)
        cuts = range(start, stop, _BLOCK_ROWS)
        chosen = [slice(at, min(at + _BLOCK_ROWS, stop)) for at in cuts] or [slice(start, stop)]
        return [{name: table[rows] for name, table in entities.items()} for rows in chosen]

    with torch.no_grad():
        queries = torch.cat([models.queries(settings, rows, relation) for rows in blocks(target.head_kind)])
        items = torch.cat([models.items(settings, rows) for rows in blocks(target.tail_kind)])
    return queries, items
