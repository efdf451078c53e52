"""Tensors in files: safetensors with one JSON header and a checksum. They are replaced atomically, never unpickled."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Pick = Callable[[str, torch.Tensor], torch.Tensor]
_CHECKSUM = "sha256"


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header atomically, byte for byte the same for the same content."""
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    checksums = {name: _checksum(tensor) for name, tensor in on_cpu.items()}
    text = json.dumps({**header, _CHECKSUM: checksums}, sort_keys=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # One metadata key, because safetensors writes several in an order that is not fixed.
        save_file(on_cpu, str(temporary), metadata={"kgspark": text})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_safetensors(path: Path, pick: Pick | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the JSON header of a file that `write_safetensors` wrote.

    pick  returns the part of a tensor to keep, given its name and the tensor; one whole tensor is in memory at a time

    Raises ValueError if a tensor is not the one that was written.
    """
    tensors = {}
    with safe_open(str(path), framework="pt", device="cpu") as file:
        header = json.loads((file.metadata() or {}).get("kgspark", "{}"))
        checksums = header.pop(_CHECKSUM, None)
        if checksums is None:
            raise ValueError("there are no checksums in it; this version of kgspark did not write it")
        for name in file.keys():  # noqa: SIM118, because it is no mapping
            tensor = file.get_tensor(name)
            if checksums.get(name) != _checksum(tensor):
                raise ValueError(f"the content of {name} changed after it was written")
            tensors[name] = tensor if pick is None else pick(name, tensor)
    return tensors, header


def _checksum(tensor: torch.Tensor) -> str:
    """SHA-256 of a contiguous tensor's bytes; type and shape stand in the file's own header."""
    return hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
