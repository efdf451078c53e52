"""Checkpoints of a training in progress: one safetensors file, replaced atomically, with a JSON header."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from kgspark.graph.graph import Graph
from kgspark.kge.safetensors_io import Pick, read_safetensors, write_safetensors
from kgspark.kge.settings import TrainSettings

_NAME = "checkpoint.safetensors"
# Settings that do not change the final weights.
_WITHOUT_EFFECT = {"checkpoint_every", "warm_start", "warm_epochs"}


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the JSON header that they were saved with."""

    tensors: dict[str, torch.Tensor]
    header: dict[str, Any]


def fingerprint(graph: Graph, settings: TrainSettings, start: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of everything that the weights depend on: settings, graph, and the tables that training starts from."""
    described = [settings.model_dump(exclude=_WITHOUT_EFFECT), torch.__version__]
    digest = hashlib.sha256(f"{graph.fingerprint()} {json.dumps(described, sort_keys=True)}".encode())
    for name in sorted(start):
        digest.update(name.encode())
        digest.update(start[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Replaces the folder's checkpoint; a kill at any moment leaves the complete old one or the complete new one."""
    write_safetensors(folder / _NAME, checkpoint.tensors, checkpoint.header)


def load(folder: Path, expected_fingerprint: str, pick: Pick | None = None) -> Checkpoint | None:
    """The folder's checkpoint; None if there is none, or if it belongs to another training.

    pick  as in `read_safetensors`
    """
    try:
        tensors, header = read_safetensors(folder / _NAME, pick)
    except (OSError, SafetensorError, ValueError):
        return None
    return Checkpoint(tensors, header) if header.get("fingerprint") == expected_fingerprint else None


def discard(folder: Path) -> None:
    """Removes the folder's checkpoint once the results are saved, and what killed processes left of unfinished ones."""
    for path in (folder / _NAME, *folder.glob(".*checkpoint*")):
        path.unlink(missing_ok=True)
