"""Saved models: one safetensors file with a JSON header; loaded as data, never unpickled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from kgspark.errors import InputError
from kgspark.graph.asked import Asked
from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.export.evidence import evidence_of
from kgspark.kge.export.when import asked_by
from kgspark.kge.model.encoders import encoder_of
from kgspark.kge.model.history import HistoryEncoder, is_history_table
from kgspark.kge.model.two_tower import build_model, parameters_by_table
from kgspark.kge.safetensors_io import Pick, read_safetensors, write_safetensors
from kgspark.kge.settings import TrainSettings
from kgspark.manifests import package_versions

# The libraries that compute the weights.
LIBRARIES = ("torch", "tgraphx", "numpy", "safetensors")
MODEL_FILE = "model.safetensors"
# The same model before it was refitted on the held-out likes.
MEASURED_FILE = "measured.safetensors"
# The name of the evidence beside the tables of the model.
_EVIDENCE = "evidence"
# The name of the trend's coordinate there: float32 (movies,).
TREND = "trend"


@dataclass(frozen=True)
class SavedModel:
    """The contents of a model file.

    tables    float32 parameter tables by the model's own names
    versions  those of the libraries that computed the weights
    evidence  uint8 (entities,), see `export.evidence`; None in a file of an earlier version
    encoder   of the histories; None if queries need no trained one
    trend     float32 (movies,): what is popular of late, see `export.trend`; None if scores do not have it
    asked     the time that queries ask for, see `export.when`; None if they ask for none
    """

    tables: dict[str, torch.Tensor]
    settings: TrainSettings
    layout: EntityLayout
    relations: tuple[Relation, ...]
    versions: dict[str, str]
    evidence: np.ndarray | None
    encoder: HistoryEncoder | None
    trend: torch.Tensor | None
    asked: Asked | None = None

    def build(self) -> torch.nn.Module:
        """The tgraphx model with the saved weights, on the CPU."""
        model = build_model(self.settings, self.layout.size, len(self.relations))
        for name, table in parameters_by_table(model).items():
            table.copy_(self.tables[name])
        return model


def save_model(
    path: Path,
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    evidence: np.ndarray | None = None,
    encoder: HistoryEncoder | None = None,
    trend: torch.Tensor | None = None,
) -> None:
    """Writes the weights atomically to `path`, with settings, layout, relations and versions in the header.

    evidence  of the model's vectors (see `export.evidence`); None if the model was trained on the graph
    """
    if evidence is None:
        evidence = evidence_of(graph, settings, settings.learned_splits)
    header = {
        "format": 1,
        "settings": settings.model_dump(),
        "layout": graph.layout.to_json(),
        # JSON objects are written with sorted keys, so the order of the kinds is kept here.
        "kinds": list(graph.layout.ranges),
        "relations": [relation.to_json() for relation in graph.relations],
        "versions": package_versions(LIBRARIES),
    }
    asked = asked_by(graph.histories(graph.relation(settings.target), settings.learned_splits), settings)
    header |= {"asked": asked.to_json()} if asked is not None else {}
    tables = parameters_by_table(model) | (encoder.tables if encoder is not None else {})
    tables |= {TREND: trend} if trend is not None else {}
    write_safetensors(path, tables | {_EVIDENCE: torch.from_numpy(evidence)}, header)


def load_model(path: Path, pick: Pick | None = None) -> SavedModel:
    """Reads a model file; raises InputError if it is missing or is no model file.

    pick  returns the part of a table to keep, given its name and the table
    """
    try:
        tables, header = read_safetensors(path, pick)
        ranges = header["layout"]
        header["settings"].setdefault("history", {"encoder": "latest"})  # a file of an earlier version
        evidence, trend = tables.pop(_EVIDENCE, None), tables.pop(TREND, None)
        return SavedModel(
            {name: table for name, table in tables.items() if not is_history_table(name)},
            TrainSettings.model_validate(header["settings"]),
            EntityLayout.from_json({kind: ranges[kind] for kind in header["kinds"]}),
            tuple(Relation.from_json(value) for value in header["relations"]),
            header["versions"],
            None if evidence is None else evidence.numpy(),
            encoder_of(tables),
            trend,
            Asked(**header["asked"]) if "asked" in header else None,
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such model file; run train-embeddings first") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValidationError, ValueError) as error:
        raise InputError(f"{path}: not a kgspark model file: {' '.join(str(error).split())}") from None


def measured_file(folder: Path) -> Path:
    """The file, in a folder of the table `model`, whose weights have not learned the held-out likes.

    Evaluations read this file, and another night may start from it.
    """
    before_refit = folder / MEASURED_FILE
    return before_refit if before_refit.exists() else folder / MODEL_FILE
