"""Checkpoints of a training in progress: one safetensors file, replaced atomically, with a JSON header."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kgspark.graph.layout import EntityLayout
from kgspark.graph.shards import TripleSet
from kgspark.kge.settings import TrainSettings
from kgspark.tables import Relation

Pick = Callable[[str, torch.Tensor], torch.Tensor]

_NAME = "checkpoint.safetensors"
# Keys that do not change the weights that training arrives at, or only how often it saves them.
_WITHOUT_EFFECT = {"checkpoint_every", "warm_start"}


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the JSON header they were saved with."""

    tensors: dict[str, torch.Tensor]
    header: dict[str, Any]


def fingerprint(
    triples: TripleSet,
    layout: EntityLayout,
    relations: Sequence[Relation],
    settings: TrainSettings,
    start: Mapping[str, torch.Tensor],
) -> str:
    """SHA-256 of everything that the weights depend on: settings, graph, and the tables that training starts from."""
    digest = hashlib.sha256(triples.fingerprint().encode())
    described = [
        settings.model_dump(exclude=_WITHOUT_EFFECT),
        layout.to_json(),
        [relation.to_json() for relation in relations],
        torch.__version__,
    ]
    digest.update(json.dumps(described, sort_keys=True).encode())
    for name in sorted(start):
        digest.update(name.encode())
        digest.update(start[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Replaces the folder's checkpoint; a kill at any moment leaves the old one or the new one, whole."""
    write_safetensors(folder / _NAME, checkpoint.tensors, checkpoint.header)


def load(folder: Path, expected_fingerprint: str, pick: Pick | None = None) -> Checkpoint | None:
    """The folder's checkpoint, or None where there is none of this very training.

    pick  what to keep of each tensor, by its name; one is held at a time
    """
    try:
        tensors, header = read_safetensors(folder / _NAME, pick)
    except (OSError, SafetensorError, ValueError):
        return None
    return Checkpoint(tensors, header) if header.get("fingerprint") == expected_fingerprint else None


def discard(folder: Path) -> None:
    """Removes the folder's checkpoint, once what training produced has been saved elsewhere."""
    (folder / _NAME).unlink(missing_ok=True)


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header atomically, byte for byte the same for the same content."""
    held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # One metadata key: safetensors would write several in an order of its own.
        save_file(held, str(temporary), metadata={"kgspark": json.dumps(header, sort_keys=True)})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_safetensors(path: Path, pick: Pick | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the JSON header of a file that `write_safetensors` wrote; `pick` as in `load`."""
    with safe_open(str(path), framework="pt", device="cpu") as file:
        header = json.loads((file.metadata() or {}).get("kgspark", "{}"))
        names = file.keys()  # not a mapping
        return {
            name: file.get_tensor(name) if pick is None else pick(name, file.get_tensor(name)) for name in names
        }, header
