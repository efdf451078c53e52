"""The memory that a training needs, estimated before it starts and compared with the free memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from kgspark.errors import ResourceError
from kgspark.graph.layout import USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.device import pick_device
from kgspark.kge.model.two_tower import metric_of, parameter_count, vector_width
from kgspark.kge.objectives.next_likes_network import dropout_pool
from kgspark.kge.settings import TrainSettings, may_encode
from kgspark.machine import free_host_bytes

# Bytes per triple while shards are read, sorted and grouped by head: 28 as columns, twice as many more while sorting,
# and 28 again by head.
_TRIPLE_BYTES = 112
# Three buffers of the largest block of scores in `evaluation` (2²⁴, on a GPU).
_EVALUATION_BYTES = 3 * 64 * 2**20
# Up to this many tails, a softmax step compares every head with all of them. With more tails, the products with tails
# that no head of the batch likes take most of an epoch and improve little.
_MOST_TAILS = 32_768
_SAMPLED_TAILS = 8_192
# What oneDNN keeps for the products of the network, of some twenty shapes each.
_SHAPES_BYTES = 256 * 2**20
# Python, torch and pyarrow themselves.
_BASE_BYTES = 600 * 2**20


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part, on the host and on the training device (for a CPU, the host itself)."""

    host: dict[str, int]
    device: dict[str, int]
    device_name: str

    @property
    def host_bytes(self) -> int:
        """Bytes of all parts on the host."""
        return sum(self.host.values())

    @property
    def device_bytes(self) -> int:
        """Bytes of all parts on the training device; 0 if that is the host."""
        return sum(self.device.values())

    def __str__(self) -> str:
        named = [("of memory", self.host)] + ([(f"on {self.device_name}", self.device)] if self.device else [])
        told = []
        for where, parts in named:
            details = ", ".join(f"{part} {_human(size)}" for part, size in parts.items() if size)
            told.append(f"{_human(sum(parts.values()))} {where} ({details})")
        return "; ".join(told)


def estimate(
    settings: TrainSettings, layout: EntityLayout, relations: Sequence[Relation], triples_count: int
) -> MemoryEstimate:
    """Peak bytes of reading, training and exporting; a batch has the largest tail kind of any relation."""
    device = pick_device(settings)
    weights = 4 * parameter_count(settings, layout.size, len(relations))
    widest = _widest(layout, relations)
    # Current and best weights, two moments, and the average if there is one.
    training = {"weights": weights * (3 if settings.ema else 2), "optimizer": 2 * weights + 4 * layout.size}
    width = vector_width(settings)
    if settings.objective == "softmax":
        # The gradient overwrites the scores; the metric l1 also keeps distances and their sign.
        buffers = 4 if metric_of(settings) == "l1" else 2
        if settings.sample_size:
            own = settings.batch_size * -(-triples_count // max(1, layout.count(USER)))  # where no two share a like
            widest = min(widest, settings.sample_size + own)
        training["batch"] = 4 * settings.batch_size * widest * buffers + 4 * 6 * width * (widest + settings.batch_size)
    else:
        # Every entity in a batch and its negatives, with its gradient, moments, queries and items; the triples; and if
        # negatives are filtered, two sorted keys per triple and the memory to sort them.
        named = settings.batch_size * (2 + max(settings.sample_size, 1))
        training["batch"] = 4 * 12 * width * named
        training["known triples"] = (28 + (48 if settings.filtered else 0)) * triples_count
    training["evaluation"] = _EVALUATION_BYTES
    if may_encode(settings):
        training["histories"] = _histories(settings, layout, relations, triples_count)
    host = {"process": _BASE_BYTES, "triples": _TRIPLE_BYTES * triples_count}
    if settings.init == "spectral":
        host["spectral start"] = 4 * 4 * layout.size * (settings.dim + 10) + 40 * triples_count
    if settings.checkpoint_every:
        host["checkpoint"] = weights * 5 if device.type == "cuda" else 0
    host["export"] = 4 * 4 * layout.size * width  # both search spaces, and the vectors of recent likes
    if device.type == "cuda":
        return MemoryEstimate({**host, "weights": weights}, training, str(device))
    return MemoryEstimate({**host, **training}, {}, str(device))


def _histories(settings: TrainSettings, layout: EntityLayout, relations: Sequence[Relation], triples_count: int) -> int:
    """Bytes of the encoder of histories: its tables, a step, and the likes in order of time."""
    movies = max(
        (layout.count(relation.tail_kind) for relation in relations if relation.name == settings.target), default=0
    )
    history, width = settings.history, vector_width(settings)
    tables = len(history.half_lives)
    vectors, of_like, fixed = 4 * tables + 4, 40, 0
    if history.encoder == "network":
        tables, of_like, blocks = tables + 2, 80, history.network.blocks
        # Of a block: 23 of its layers and of dropout, their rounded copies, and half as many gradients at a time.
        vectors += 16 + 48 * blocks
        fixed = _SHAPES_BYTES + 4 * 6 * (7 * blocks + 1) * width * width + 10 * dropout_pool(history, width)
    # Tables before and after the refit, their gradient, two moments, and a step's copy.
    kept = 4 * 6 * tables * movies * width
    places = 4 * history.batch_size * width * vectors
    compared = min(movies, settings.sample_size + history.batch_size) if settings.sample_size else movies
    return kept + places + fixed + 4 * 4 * 1024 * compared + of_like * triples_count


def resolve_negatives(
    settings: TrainSettings, layout: EntityLayout, relations: Sequence[Relation], triples_count: int
) -> TrainSettings:
    """The settings with a number for `negatives: auto`: 0, or a sample if the largest tail kind is too large.

    More than 32,768 tails are too many, and so are tails for which a step does not fit the free memory.
    """
    if settings.negatives != "auto" or settings.objective != "softmax":
        return settings
    full = settings.model_copy(update={"negatives": 0})
    widest = _widest(layout, relations)
    if widest <= _MOST_TAILS and suffices(estimate(full, layout, relations, triples_count)):
        return full
    return settings.model_copy(update={"negatives": min(_SAMPLED_TAILS, max(widest // 4, 1))})


def check(needed: MemoryEstimate) -> None:
    """Raises StageError, with the settings to lower, if the host or the device has too little free memory."""
    for where, wanted, free in _demands(needed):
        if wanted > free:
            raise ResourceError(
                f"training needs about {_human(wanted)} of memory on {where}, {_human(free)} are free; "
                "lower train.dim or train.batch_size, or set train.negatives to sample tails"
            )


def suffices(needed: MemoryEstimate) -> bool:
    """True if `check` would pass."""
    return all(wanted <= free for _, wanted, free in _demands(needed))


def _widest(layout: EntityLayout, relations: Sequence[Relation]) -> int:
    """Number of entities of the largest tail kind."""
    return max((layout.count(relation.tail_kind) for relation in relations), default=0)


def _demands(needed: MemoryEstimate) -> Iterator[tuple[str, int, int]]:
    """For the host and the training device: its name, the bytes needed and the bytes free."""
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
