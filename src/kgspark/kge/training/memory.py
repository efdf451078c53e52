"""How much memory a training needs, known before it starts, and whether the machine has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from kgspark.errors import StageError
from kgspark.graph.layout import USER, EntityLayout
from kgspark.kge.device import pick_device
from kgspark.kge.model.models import parameter_count, vector_width
from kgspark.kge.settings import TrainSettings
from kgspark.machine import free_host_bytes
from kgspark.tables import Relation

# Bytes a triple takes while shards are read, sorted and laid out as CSR: 28 as columns, twice more while sorting, and
# 28 again by head.
_TRIPLE_BYTES = 112
# Three buffers of the largest block of scores that `evaluation` holds (2²⁴, on a GPU).
_EVALUATION_BYTES = 3 * 64 * 2**20
# Python, torch and pyarrow themselves.
_BASE_BYTES = 600 * 2**20


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part, on the host and on the device that trains (the host itself for a CPU)."""

    host: dict[str, int]
    device: dict[str, int]
    device_name: str

    @property
    def host_bytes(self) -> int:
        """Bytes of all parts on the host."""
        return sum(self.host.values())

    @property
    def device_bytes(self) -> int:
        """Bytes of all parts on the training device; 0 where that is the host."""
        return sum(self.device.values())

    def __str__(self) -> str:
        named = [("host", self.host)] + ([(self.device_name, self.device)] if self.device else [])
        return "; ".join(
            f"{where} {_human(sum(parts.values()))} ({', '.join(f'{part} {_human(n)}' for part, n in parts.items())})"
            for where, parts in named
        )


def estimate(
    settings: TrainSettings, layout: EntityLayout, relations: Sequence[Relation], triples_count: int
) -> MemoryEstimate:
    """Peak bytes of reading, training and exporting; batches assume the widest tail kind of any relation."""
    device = pick_device(settings)
    weights = 4 * parameter_count(settings, layout.size, len(relations))
    widest = max((layout.count(relation.tail_kind) for relation in relations), default=0)
    # Current and best weights, the two moments; the average where it is kept.
    training = {"weights": weights * (3 if settings.ema else 2), "optimizer": 2 * weights + 4 * layout.size}
    width = vector_width(settings)
    if settings.objective == "softmax":
        # Scores that turn into their gradient; TransE's norm 1 keeps distances and their sign beside them.
        buffers = 4 if settings.norm == 1 else 2
        if settings.sample_size:
            own = settings.batch_size * -(-triples_count // max(1, layout.count(USER)))  # where no two share a like
            widest = min(widest, settings.sample_size + own)
        training["batch"] = 4 * settings.batch_size * widest * buffers + 4 * 6 * width * (widest + settings.batch_size)
    else:
        # Every entity that a batch and its negatives name, with its gradient, moments, queries and items; the triples,
        # and where negatives are filtered, two sorted keys of each and what sorting them takes.
        named = settings.batch_size * (2 + max(settings.sample_size, 1))
        training["batch"] = 4 * 12 * width * named
        training["known triples"] = (28 + (48 if settings.filtered else 0)) * triples_count
    training["evaluation"] = _EVALUATION_BYTES
    host = {"process": _BASE_BYTES, "triples": _TRIPLE_BYTES * triples_count}
    if settings.init == "spectral":
        host["spectral start"] = 4 * 4 * layout.size * (settings.dim + 10) + 40 * triples_count
    if settings.checkpoint_every:
        host["checkpoint"] = weights * 5 if device.type == "cuda" else 0
    host["export"] = 3 * 4 * layout.size * width  # queries and items, what queries lean towards, and their mixture
    if device.type == "cuda":
        return MemoryEstimate({**host, "weights": weights}, training, str(device))
    return MemoryEstimate({**host, **training}, {}, str(device))


def check(needed: MemoryEstimate) -> None:
    """Raises StageError, with the settings to lower, where the host or the device has less free than is needed."""
    for where, wanted, free in _demands(needed):
        if wanted > free:
            raise StageError(
                f"training needs about {_human(wanted)} of memory on {where}, {_human(free)} are free; "
                "lower train.dim or train.batch_size, or set train.negatives to sample tails"
            )


def suffices(needed: MemoryEstimate) -> bool:
    """Whether `check` would pass."""
    return all(wanted <= free for _, wanted, free in _demands(needed))


def _demands(needed: MemoryEstimate) -> Iterator[tuple[str, int, int]]:
    """Place, bytes needed and bytes free."""
    yield "host", needed.host_bytes, free_host_bytes()
    if needed.device:
        with torch.cuda.device(needed.device_name):
            yield needed.device_name, needed.device_bytes, torch.cuda.mem_get_info()[0]


def _human(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
