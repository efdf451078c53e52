"""Carries yesterday's vectors over to today's indices, by (kind, external_id) and by relation name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from kgspark.errors import StageError
from kgspark.graph.relation import Relation
from kgspark.kge.export.evidence import NOTHING
from kgspark.kge.export.model_files import SavedModel, load_model
from kgspark.kge.model.history import HistoryEncoder, is_movie_table
from kgspark.kge.model.two_tower import metric_of, parameters_by_table, tower_of
from kgspark.kge.settings import TrainSettings


@dataclass(frozen=True)
class WarmStart:
    """Rows of parameter tables to start from: `values[table]` float32 (n, width) go to `rows[table]` int64 (n,).

    settings  those that the old model was trained with
    evidence  of today's entities, uint8 (entities,): that of the old model, and NOTHING for an entity that it does not
              have, or if its file is of an earlier version and does not say
    movies    int64 (n,): positions of today's movies that the old model has
    encoder   the old model's encoder of histories, of these movies; None if it has none
    """

    rows: Mapping[str, torch.Tensor]
    values: Mapping[str, torch.Tensor]
    carried_entities: int
    carried_relations: int
    settings: TrainSettings
    evidence: np.ndarray
    movies: torch.Tensor
    encoder: HistoryEncoder | None

    def apply(self, model: torch.nn.Module) -> None:
        """Writes the carried rows into the model; all others keep their fresh initialisation."""
        for name, table in parameters_by_table(model).items():
            table[self.rows[name].to(table.device)] = self.values[name].to(table.device)

    def apply_encoder(self, encoder: HistoryEncoder) -> bool:
        """Writes the carried tables, by movie where they have a row for each, into the encoder's tables.

        False, and nothing, if these are not of the same kind.
        """
        if self.encoder is None or _kind_of(self.encoder) != _kind_of(encoder):
            return False
        for name, table in encoder.tables.items():
            rows = self.movies.to(table.device) if is_movie_table(name) else slice(None)
            table[rows] = self.encoder.tables[name].to(table.device)
        return True


def carry_over(
    old_model: Path,
    old_entities: pa.Table,
    new_entities: pa.Table,
    relations: Sequence[Relation],
    settings: TrainSettings,
) -> WarmStart:
    """Reads an old model file and matches its rows with today's entities and relations.

    Entities are tables with the columns kind (string), external_id (string) and index (int64).
    Raises StageError if the old model has another type or size, or does not fit its entities.
    """
    saved = load_model(old_model)
    _check_compatible(old_model, saved, old_entities, settings)
    old_rows, new_rows = matching_rows(old_entities, new_entities)
    evidence = np.full(new_entities.num_rows, NOTHING, np.uint8)
    if saved.evidence is not None:
        # A served model has rows for entities that it was never trained on; they are no vectors to start from.
        trained = saved.evidence[old_rows] != NOTHING
        old_rows, new_rows = old_rows[trained], new_rows[trained]
        evidence[new_rows] = saved.evidence[old_rows]
    old_names = {relation.name: relation.index for relation in saved.relations}
    kept = [(old_names[relation.name], relation.index) for relation in relations if relation.name in old_names]
    old_relations, new_relations = np.array(kept, dtype=np.int64).reshape(-1, 2).T.copy()
    rows: dict[str, torch.Tensor] = {}
    values: dict[str, torch.Tensor] = {}
    tower = tower_of(settings)
    for names, old, new in (
        (tower.entity_tables, old_rows, new_rows),
        (tower.relation_tables, old_relations, new_relations),
    ):
        for name in names:
            rows[name] = torch.from_numpy(new)
            values[name] = saved.tables[name][torch.from_numpy(old)]
    movies, encoder = _carry_encoder(saved, new_entities, old_rows, new_rows)
    return WarmStart(rows, values, len(new_rows), len(new_relations), saved.settings, evidence, movies, encoder)


def _carry_encoder(
    saved: SavedModel, entities: pa.Table, old_rows: np.ndarray, new_rows: np.ndarray
) -> tuple[torch.Tensor, HistoryEncoder | None]:
    """Positions of today's movies, and the old encoder of them. Both numberings have a kind's entities together."""
    target = next(relation for relation in saved.relations if relation.name == saved.settings.target)
    first, last = saved.layout.range(target.tail_kind)
    movies = (old_rows >= first) & (old_rows < last)
    today = np.asarray(entities.filter(pc.field("kind") == target.tail_kind)["index"])
    positions = torch.from_numpy(new_rows[movies] - (today.min() if len(today) else 0))
    if saved.encoder is None:
        return positions, None
    picked = torch.from_numpy(old_rows[movies] - first)
    return positions, saved.encoder.of_movies(picked)


def _kind_of(encoder: HistoryEncoder) -> dict[str, torch.Size]:
    """The names of the tables, each with the shape that does not depend on the number of movies."""
    return {name: table.shape[1:] if is_movie_table(name) else table.shape for name, table in encoder.tables.items()}


def matching_rows(old_entities: pa.Table, new_entities: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Old and new indices int64 (n,) of the entities in both tables, sorted by the new index."""
    old_index, new_index = (np.asarray(table["index"]).astype(np.int64) for table in (old_entities, new_entities))
    found = pc.index_in(_keys(new_entities), value_set=_keys(old_entities).combine_chunks())
    present = np.asarray(pc.is_valid(found))
    old = old_index[np.asarray(pc.drop_null(found)).astype(np.int64)]
    new = new_index[present]
    order = np.argsort(new)
    return old[order], new[order]


def _keys(entities: pa.Table) -> pa.ChunkedArray:
    """One string per entity. The name of a kind cannot contain the separator; an external id may."""
    text = (pc.cast(entities[name], pa.string()) for name in ("kind", "external_id"))
    return pc.binary_join_element_wise(*text, "\x1f")


def _check_compatible(path: Path, saved: SavedModel, entities: pa.Table, settings: TrainSettings) -> None:
    # `norm` may differ if the model does not use it, because then it changes no metric.
    keys = ("model", "dim") if metric_of(saved.settings) == metric_of(settings) else ("model", "dim", "norm")
    for key in keys:
        old, new = getattr(saved.settings, key), getattr(settings, key)
        if old != new:
            raise StageError(
                f"train.warm_start: {path} was trained with {key} {old}, but this run has {new}; "
                f"set train.{key}={old} or train.warm_start=none"
            )
    if entities.num_rows != saved.layout.size:
        raise StageError(
            f"train.warm_start: {path} has {saved.layout.size} entities, its entities table {entities.num_rows}"
        )
