"""SASRec (Kang and McAuley 2018): causal self-attention over a user's likes in order of time, here with a softmax loss.

The paper compares each next movie with one drawn movie. A softmax over the whole catalogue makes the same network much
better (Klenitskiy and Vasilev 2023, “Turning Dross Into Gold Loss”; compare gSASRec, Petrov and Macdonald 2023). Movies
have one table of vectors, for input and output, so the score of a movie is its inner product with the output at the
user's latest like.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kgspark.errors import ResourceError, StageError
from kgspark.graph.histories import Histories, batches_of_like_size
from kgspark.metrics.link import filtered_ranks
from kgspark.peers.baselines import Likes
from kgspark.peers.settings import SasrecSettings
from kgspark.search_space import SearchSpace

# A step takes 10 bytes per movie and like of its batch: 400 MB with this many movies and 1,024 likes.
_LARGEST_CATALOGUE = 40_000
# A tenth of the users choose the epoch by their latest like, but no more than this.
_VALIDATION_USERS = 1_000
_K = 10
# Scores in memory at once.
_CELLS = 1 << 23
_WARM_UP_STEPS = 100
# Users are mixed at random among those whose numbers of likes differ by less than this.
_LIKE_SIZES = 8


def fit(likes: Likes) -> SearchSpace:
    """One query per user, of zeros for a user without likes, and one vector per movie.

    Raises StageError for likes without times, for a catalogue that is too large for a full softmax, and for a device
    that the machine does not have.
    """
    settings = likes.settings.sasrec
    if likes.by_user.times is None:
        raise StageError(
            "evaluate.baselines: sasrec learns the order of likes, and these have no times; take it out of the list"
        )
    if likes.movies > _LARGEST_CATALOGUE and not settings.negatives:
        raise StageError(
            f"evaluate.baselines: a softmax over {likes.movies:,} movies takes too much memory; take sasrec out of the "
            "list, or set evaluate.peers.sasrec.negatives to some thousands"
        )
    device = _pick_device(settings.device)
    sequences = likes.by_user.in_order()
    with _repeatable(likes.seed, device):
        network = Network(likes.movies, settings).to(device)
        _train(network, sequences, settings, likes.seed)
        queries = _queries(network, sequences, settings.batch)
    return SearchSpace.learned(queries, network.vectors(), "inner_product")


class Network(nn.Module):
    """The vectors of movies and of places, and blocks of attention."""

    def __init__(self, movies: int, settings: SasrecSettings) -> None:
        super().__init__()
        self.places = settings.places
        self.movies, self.at_place = (nn.Embedding(rows, settings.dim) for rows in (movies, self.places))
        for table in (self.movies, self.at_place):
            nn.init.normal_(table.weight, std=settings.dim**-0.5)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.Sequential(*(Block(settings) for _ in range(settings.blocks)))
        self.norm = nn.LayerNorm(settings.dim)

    def forward(self, movies: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Outputs (B, n, dim) of the movies int64 (B, n), of which the first `sizes` int64 (B,) are real.

        Places count from the latest like, as with the paper's padding at the left. Here the padding is at the right,
        where the causal mask hides it from all real places.
        """
        columns = torch.arange(movies.shape[1], device=movies.device)
        places = (self.places - sizes[:, None] + columns).clamp(max=self.places - 1)
        x = self.movies(movies) * math.sqrt(self.movies.embedding_dim) + self.at_place(places)
        outputs: torch.Tensor = self.norm(self.blocks(self.dropout(x)))
        return outputs

    def vectors(self) -> np.ndarray:
        """The vector of every movie, float32 (M, dim)."""
        return self.movies.weight.detach().cpu().numpy()


class Block(nn.Module):
    """Attention, then two dense layers; each normalises its input first, and is added to it."""

    def __init__(self, settings: SasrecSettings) -> None:
        super().__init__()
        dim, self.heads = settings.dim, settings.heads
        self.before_attention, self.before_dense = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project, self.merge = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(settings.dropout)
        self.dense = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, n, dim) to (B, n, dim); a place sees itself and those before."""
        projected = self.project(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (B, heads, n, dim / heads)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.merge(seen.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.dense(self.before_dense(x)))


def _train(network: Network, sequences: Histories, settings: SasrecSettings, seed: int) -> None:
    """Trains until validation finds no improvement for some epochs, and leaves the weights of the best epoch."""
    generator = np.random.default_rng(seed)
    validating = _choose_validating(sequences.sizes, generator)
    known = sequences.where((_from_end(sequences) > 1) | ~np.isin(sequences.rows(), validating))
    learned = _latest(known, settings.places + 1)
    targets = learned.sizes - 1
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.98))
    best, weights, stale, step = -1.0, network.state_dict(), 0, 0
    for epoch in range(settings.epochs):
        batches = batches_of_like_size(
            generator.permutation(np.flatnonzero(targets > 0)), targets, settings.batch, _LIKE_SIZES
        )
        for number, at in enumerate(generator.permutation(len(batches))):
            remaining = 1 - (epoch + number / len(batches)) / settings.epochs
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * min(step / _WARM_UP_STEPS, remaining)
            loss = _loss(network.train(), learned.pick(batches[at]), settings.negatives)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ndcg = _ndcg(network, known.pick(validating), sequences.pick(validating), settings.batch)
        stale = 0 if ndcg > best else stale + 1
        if ndcg >= best:  # of equal epochs, the last has learned most
            best, weights = ndcg, {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if stale == settings.patience and len(validating):
            break
    network.load_state_dict(weights)


def _loss(network: Network, sequences: Histories, negatives: int) -> torch.Tensor:
    """Mean cross-entropy of the next movie, over all places that have one; a scalar.

    negatives  number of movies that the softmax compares it with, drawn once for the batch; 0 for all
    """
    movies, sizes = _padded(sequences, network)
    real = torch.arange(movies.shape[1] - 1, device=movies.device) < sizes[:, None] - 1
    table, wanted = network.movies.weight, movies[:, 1:][real]
    with torch.autocast(movies.device.type, torch.bfloat16, enabled=_has_bfloat16(movies.device)):
        outputs = network(movies[:, :-1], sizes - 1)[real]
        if not negatives:
            return F.cross_entropy(outputs @ table.T, wanted)
        drawn = torch.randint(len(table), (negatives,), device=movies.device)
        own = (outputs * network.movies(wanted)).sum(1, keepdim=True)
        others = (outputs @ network.movies(drawn).T).masked_fill(drawn == wanted[:, None], -math.inf)
        return F.cross_entropy(torch.cat([own, others], 1), torch.zeros_like(wanted))


def _ndcg(network: Network, known: Histories, liked: Histories, batch: int) -> float:
    """NDCG@10 of the movies that follow the sequences `known` in `liked`, one per user, among all other movies."""
    queries, vectors, latest = _queries(network, known, batch), network.vectors(), _latest(liked, 1)
    gains = 0.0
    step = max(1, _CELLS // len(vectors))
    for start in range(0, len(queries), step):
        users = np.arange(start, min(start + step, len(queries)))
        ranks = filtered_ranks(queries[users] @ vectors.T, liked.pick(users), latest.pick(users))
        gains += float((1 / np.log2(1 + ranks[ranks <= _K])).sum())
    return gains / max(len(queries), 1)


@torch.inference_mode()
def _queries(network: Network, sequences: Histories, batch: int) -> np.ndarray:
    """Outputs float32 (B, dim) at the latest like of every sequence; zeros for an empty one."""
    network.eval()
    sequences = _latest(sequences, network.places)
    queries = np.zeros((len(sequences), network.movies.embedding_dim), np.float32)
    for users in batches_of_like_size(np.flatnonzero(sequences.sizes), sequences.sizes, batch, _LIKE_SIZES):
        movies, sizes = _padded(sequences.pick(users), network)
        outputs = network(movies, sizes)
        queries[users] = outputs[torch.arange(len(users), device=sizes.device), sizes - 1].cpu().numpy()
    return queries


def _choose_validating(sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The users, int64, whose latest like is for validation: a tenth of those who have others before it."""
    able = np.flatnonzero(sizes >= 2)
    return np.sort(generator.permutation(able)[: min(len(able) // 10, _VALIDATION_USERS)])


def _from_end(sequences: Histories) -> np.ndarray:
    """int64 (nnz,): 1 for the latest movie of its sequence, 2 for the one before, and so on."""
    return np.repeat(sequences.indptr[1:], sequences.sizes) - np.arange(len(sequences.indices))


def _latest(sequences: Histories, most: int) -> Histories:
    """The last `most` movies of every sequence."""
    return sequences.where(_from_end(sequences) <= most)


def _padded(sequences: Histories, network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """Movies int64 (B, n), with zeros after the end of a shorter sequence, and sizes int64 (B,); on the device."""
    sizes = sequences.sizes
    movies = np.zeros((len(sizes), sizes.max()), np.int64)
    movies[np.arange(movies.shape[1]) < sizes[:, None]] = sequences.indices
    device = network.movies.weight.device
    return torch.from_numpy(movies).to(device), torch.from_numpy(sizes).to(device)


def _pick_device(name: str) -> torch.device:
    """The device that `evaluate.peers.sasrec.device` names."""
    count = torch.cuda.device_count()
    device = torch.device(("cuda" if count else "cpu") if name == "auto" else name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ResourceError(
            f"evaluate.peers.sasrec.device: {name} was set, but {count} CUDA devices are visible; use auto"
        )
    return device


def _has_bfloat16(device: torch.device) -> bool:
    """True if the device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # older versions of torch do not tell
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


@contextmanager
def _repeatable(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch and chooses its deterministic algorithms, and restores both at the end."""
    # cuBLAS is only deterministic with a fixed workspace, which must be set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    on_cuda = device.type == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.manual_seed(seed)
        try:
            if on_cuda:  # on a CPU they are deterministic anyway
                torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            if on_cuda:
                torch.use_deterministic_algorithms(before[0], warn_only=before[1])
