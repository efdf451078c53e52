"""A model as two towers: a translated query of (head, relation), compared with an effective item.

For every model `score_triples(h, r, t)` depends on `query(h, r)` and `item(t)` alone, which are compared as in
kgspark.search_space. Each model is one module with a record TOWER; kgspark.kge.recipes names the module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import torch

from kgspark.kge.recipes import MODELS
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import Metric

# Rows of some parameter tables, by the name of the table.
RowsByTable = Mapping[str, torch.Tensor]


def _inner_product(settings: TrainSettings) -> Metric:
    return "inner_product"


def _no_offset(model: torch.nn.Module) -> float:
    return 0.0


def _dim(dim: int) -> int:
    return dim


def _absolute(rows: RowsByTable) -> torch.Tensor:
    return torch.cat([part.abs() for part in rows.values()], dim=1)


@dataclass(frozen=True)
class TwoTower:
    """One model. The names of its tables are the names of its parameters.

    build              the model for (number of entities, number of relations, settings), drawn from torch's global
                       generator, on the CPU; its `score_triples` takes (head, relation, tail) int64 (B, 3)
    entity_tables      names of the tables with one row per entity, each (entities, dim)
    relation_tables    names of the tables with one row per relation, each (relations, relation_width)
    query              translated queries (n, width) of head rows (n, dim) and relation rows (1 or n, relation_width)
    item               effective items (n, width) of tail rows (n, dim), after the model's own normalisation
    identity_relation  relation rows (relation_width,), by table, that do not change a head
    metric             the comparison of query and item. For l2 every item has length one, and for modulus every
                       coordinate has modulus one; training relies on both
    offset             the number that the model adds to a score by distance
    relation_width     numbers per row of a relation table
    item_tables        entity tables in the order in which `item` joins their rows; those of `entity_tables` by default
    query_each         queries of heads, each by the relation row that `chosen` (n,) names; by default `query` of rows
                       that are picked first
    moduli             sizes (n, width) of the coordinates of entity or relation rows, complex ones by their modulus
    spectral           the additions of a spectral start to entity rows, by table, for their unit vectors (n, dim);
                       by default the vectors, in every table
    """

    build: Callable[[int, int, TrainSettings], torch.nn.Module]
    entity_tables: tuple[str, ...]
    relation_tables: tuple[str, ...]
    query: Callable[[RowsByTable, RowsByTable], torch.Tensor]
    item: Callable[[RowsByTable], torch.Tensor]
    identity_relation: Callable[[int], RowsByTable]
    metric: Callable[[TrainSettings], Metric] = _inner_product
    offset: Callable[[torch.nn.Module], float] = _no_offset
    relation_width: Callable[[int], int] = _dim
    item_tables: tuple[str, ...] | None = None
    query_each: Callable[[RowsByTable, RowsByTable, torch.Tensor], torch.Tensor] | None = None
    moduli: Callable[[RowsByTable], torch.Tensor] = _absolute
    spectral: Callable[[torch.Tensor], RowsByTable] | None = None

    def queries_by_relation(self, heads: RowsByTable, relations: RowsByTable, chosen: torch.Tensor) -> torch.Tensor:
        """Queries (n, width) of head rows (n, dim), each by the relation row that `chosen` (n,) names."""
        if self.query_each is not None:
            return self.query_each(heads, relations, chosen)
        return self.query(heads, {name: rows.index_select(0, chosen) for name, rows in relations.items()})

    def rows_of_items(self, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Entity rows, by table, whose `item` is the given (n, width), up to the model's own normalisation."""
        parts = vectors.chunk(len(self.entity_tables), dim=1)
        return dict(zip(self.item_tables or self.entity_tables, parts, strict=True))

    def spectral_rows(self, vectors: torch.Tensor) -> RowsByTable:
        """The additions of a spectral start to entity rows, by table, for their unit vectors (n, dim)."""
        return dict.fromkeys(self.entity_tables, vectors) if self.spectral is None else self.spectral(vectors)


def tower_of(settings: TrainSettings) -> TwoTower:
    """The record of the model that the settings name."""
    tower: TwoTower = import_module(MODELS[settings.model].module).TOWER
    return tower


def build_model(settings: TrainSettings, num_entities: int, num_relations: int) -> torch.nn.Module:
    """The model with its own initialisation, drawn from torch's global generator, on the CPU."""
    return tower_of(settings).build(num_entities, num_relations, settings)


def parameters_by_table(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weight tensors under their table's name, sharing memory with the model."""
    return {name.removesuffix(".weight"): value.detach() for name, value in model.named_parameters()}


def items_of(settings: TrainSettings, model: torch.nn.Module, rows: slice | torch.Tensor) -> torch.Tensor:
    """Effective items (n, width) of the entities at the given indices, on the model's device."""
    tower, tables = tower_of(settings), parameters_by_table(model)
    return tower.item({name: tables[name][rows] for name in tower.entity_tables})


def queries_of(
    settings: TrainSettings, model: torch.nn.Module, rows: slice | torch.Tensor, relation: int
) -> torch.Tensor:
    """Translated queries (n, width) of the entities at the given indices, by the relation of that index."""
    tower, tables = tower_of(settings), parameters_by_table(model)
    heads = {name: tables[name][rows] for name in tower.entity_tables}
    return tower.query(heads, {name: tables[name][relation, None] for name in tower.relation_tables})


def metric_of(settings: TrainSettings) -> Metric:
    """The comparison of a query and an item."""
    return tower_of(settings).metric(settings)


def vector_width(settings: TrainSettings) -> int:
    """Numbers per exported query or item."""
    return settings.dim * len(tower_of(settings).entity_tables)


def parameter_count(settings: TrainSettings, num_entities: int, num_relations: int) -> int:
    """Number of float32 parameters of the model."""
    tower = tower_of(settings)
    relations = num_relations * tower.relation_width(settings.dim) * len(tower.relation_tables)
    return num_entities * vector_width(settings) + relations
