"""Bulk nearest-neighbour search as blocks of matrix product and top-k on any torch device.

It replaces FAISS's flat search if a task has a CUDA device. It returns candidates and values by the same conventions;
the caller scores them again. Products are in full float32, never TF32 or bfloat16. Each is a sum of d products in any
order, off by at most d·u / (1 - d·u) times the sum of the terms' magnitudes, u = 2⁻²⁴ (Higham, Accuracy and Stability
of Numerical Algorithms, eq. 3.5). Squared distances are ‖q‖² + ‖t‖² - 2 q·t of such sums, off by at most the same
fraction of (‖q‖ + ‖t‖)², and two more roundings. `retrieval.bounds` allows for these errors.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from kgspark.errors import ResourceError

# Rows per tile: enough for a product at full speed with any number of queries.
_TILE_ROWS = 65_536
# Vectors stay on the device if they take at most this fraction of its free memory.
_LARGEST_FRACTION = 0.5
# Bytes of free memory that a task needs to search on the device.
_LEAST_FREE = 1 << 30


@dataclass(frozen=True)
class MatrixSearch:
    """A search on one device; small, and pickled with a task.

    device  torch's name of the device: "cuda:1", "cpu"
    cells   largest number of values per block, 4 bytes each; top-k needs a few times as much memory. Blocks are halved
            if other tasks leave too little memory on the device
    """

    device: str
    cells: int = 1 << 26

    def __call__(
        self, queries: np.ndarray, vectors: np.ndarray, depth: int, metric: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `depth` vectors of each query: values float32, rows int64 (B, min(depth, N)), best first.

        queries float32 (B, d), vectors float32 (N, d). Values are inner products (`inner_product`), squared Euclidean
        distances (`l2`) or L1 distances (`l1`). The order of equal values is not defined. Vectors stay on the device
        for the next call with the same array, which must not change. Sets torch to full float32 products for the rest
        of the process, because resetting it would change the precision of another thread's products. Raises ValueError
        for another metric, and StageError if the device's memory does not hold a block of one query.
        """
        measure = _MEASURES.get(metric)
        if measure is None:
            raise ValueError(f"unknown metric {metric!r}; expected one of {', '.join(_MEASURES)}")
        torch.set_float32_matmul_precision("highest")
        depth = min(depth, len(vectors))
        values = np.empty((len(queries), depth), dtype=np.float32)
        ids = np.empty((len(queries), depth), dtype=np.int64)
        start, step = 0, max(1, min(len(queries), self.cells // max(1, min(_TILE_ROWS, len(vectors)))))
        while start < len(queries):
            part = slice(start, start + step)
            found = self._block(queries[part], vectors, depth, measure)
            if found is None and step == 1:
                raise ResourceError(
                    f"recommend.device: {self.device} has no memory left for one query; let fewer tasks use it, or "
                    "set recommend.device=cpu"
                )
            if found is None:
                step = -(-step // 2)
                continue
            values[part], ids[part] = found if metric == "inner_product" else (-found[0], found[1])
            start += step
        return values, ids

    def _block(
        self, queries: np.ndarray, vectors: np.ndarray, depth: int, measure: "Measure"
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The largest measures and their rows, both (b, depth); None if the device has too little free memory."""
        with _turn, torch.inference_mode(), torch.autocast(torch.device(self.device).type, enabled=False):
            try:
                values, rows = self._best(_copy_to(queries, self.device), vectors, depth, measure)
                return values.cpu().numpy(), rows.cpu().numpy()
            except torch.OutOfMemoryError:
                pass
        torch.cuda.empty_cache()
        return None

    def _best(
        self, queries: torch.Tensor, vectors: np.ndarray, depth: int, measure: "Measure"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The largest measures and their rows, both (b, depth), of queries (b, d), one tile of vectors at a time."""
        values = torch.empty((len(queries), 0), device=self.device)
        ids = torch.empty((len(queries), 0), dtype=torch.int64, device=self.device)
        for begin, tile in _tiles(vectors, self.device):
            found, rows = torch.topk(measure(queries, tile), min(depth, len(tile)), dim=1)
            values, ids = torch.cat([values, found], dim=1), torch.cat([ids, rows + begin], dim=1)
            if values.shape[1] > depth:
                values, columns = torch.topk(values, depth, dim=1)
                ids = ids.gather(1, columns)
        return values, ids


def cuda_devices() -> int:
    """Number of CUDA devices that torch sees in this process."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def has_room(number: int) -> bool:
    """True if a GiB of the CUDA device's memory is free."""
    try:
        return torch.cuda.mem_get_info(number)[0] >= _LEAST_FREE
    except RuntimeError:  # too little memory even to create a context
        return False


Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _inner_products(queries: torch.Tensor, tile: torch.Tensor) -> torch.Tensor:
    return queries @ tile.T


def _negative_squared_distances(queries: torch.Tensor, tile: torch.Tensor) -> torch.Tensor:
    products = (queries @ tile.T).mul_(2)
    return products.sub_(queries.square().sum(dim=1)[:, None]).sub_(tile.square().sum(dim=1)[None, :])


def _negative_l1_distances(queries: torch.Tensor, tile: torch.Tensor) -> torch.Tensor:
    return torch.cdist(queries, tile, p=1.0).neg_()


# For each metric, a measure that is largest for the best vector: queries (b, d), tile (n, d) -> (b, n).
_MEASURES: dict[str, Measure] = {
    "inner_product": _inner_products,
    "l2": _negative_squared_distances,
    "l1": _negative_l1_distances,
}

_resident: dict[tuple[int, str], tuple[weakref.ref[np.ndarray], torch.Tensor]] = {}
_moving = threading.Lock()
# Threads of a process take turns: one block keeps the device busy, and memory does not grow with their number.
_turn = threading.Lock()


def _tiles(vectors: np.ndarray, device: str) -> Iterator[tuple[int, torch.Tensor]]:
    """The vectors on the device, one tile at a time, each with the number of its first row."""
    kept = _keep(vectors, device)
    for begin in range(0, len(vectors), _TILE_ROWS):
        end = begin + _TILE_ROWS
        yield begin, _copy_to(vectors[begin:end], device) if kept is None else kept[begin:end]


def _keep(vectors: np.ndarray, device: str) -> torch.Tensor | None:
    """All vectors on the device, where they stay as long as the array lives; None if they are too large."""
    key = (id(vectors), device)
    with _moving:
        if key in _resident:
            return _resident[key][1]
        if device.startswith("cuda") and vectors.nbytes > _LARGEST_FRACTION * torch.cuda.mem_get_info(device)[0]:
            return None
        moved = _copy_to(vectors, device)
        # Python may reuse the id of a deleted array, so its vectors are deleted with it.
        _resident[key] = (weakref.ref(vectors, lambda _: _resident.pop(key, None)), moved)
        return moved


def _copy_to(array: np.ndarray, device: str) -> torch.Tensor:
    """A copy of the array on the device, which does not keep the array alive."""
    return torch.tensor(array, device=device)
