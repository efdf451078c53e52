"""Tensors in files: safetensors with one JSON header. Files are replaced atomically, and never unpickled."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Pick = Callable[[str, torch.Tensor], torch.Tensor]


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header atomically, byte for byte the same for the same content."""
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # One metadata key, because safetensors writes several in an order that is not fixed.
        save_file(on_cpu, str(temporary), metadata={"kgspark": json.dumps(header, sort_keys=True)})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_safetensors(path: Path, pick: Pick | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the JSON header of a file that `write_safetensors` wrote.

    pick  returns the part of a tensor to keep, given its name and the tensor; one whole tensor is in memory at a time
    """
    with safe_open(str(path), framework="pt", device="cpu") as file:
        header = json.loads((file.metadata() or {}).get("kgspark", "{}"))
        names = file.keys()  # not a mapping
        return {
            name: file.get_tensor(name) if pick is None else pick(name, file.get_tensor(name)) for name in names
        }, header
