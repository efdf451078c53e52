"""Queries from histories by a small causal network, which reads what the decayed sums cannot: order, ratings and times.

At every place of a history, with the movie m, its weight and the seconds since the like before and until the next one,

    x = X[m] + W[weight] + G[seconds before] + N[seconds until the next]
    x ← x + B (u ⊙ silu(A x'))      u: heads of decaying sums Σ_s exp(−r (t − s)) V x'_s, each of variance 1
    x ← x + D gelu(C x'')           x', x'': layers of mean 0 and variance 1
    e = decayed sums (`history_sums`) + P x'''

and e · (t + Δ_t) + β_t is the score of the next like t. t are the model's items; X starts as the items, and P, Δ and β
start at 0, so that training starts from the decayed sums of what the graph knows. A movie that nobody liked in training
has Δ = 0 and the smallest β. The rates r are learned. The time until the next like is hidden at random places in
training, so that queries do not need it.

The rates in place of attention are those of linear recurrent networks (LRURec, Yue et al. 2024) and of time decays in
HSTU (Zhai et al. 2024), which also has the gate. Klenitskiy and Vasilev 2023 (“Turning Dross Into Gold Loss”) show for
SASRec what the full softmax is worth.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kgspark.graph.histories import Histories
from kgspark.graph.places import TIME_NUMBERS, WEIGHT_NUMBERS, Places, rows_of_block, users_by_block
from kgspark.kge.model.history import PREFIX, WHOLE, HistoryEncoder, is_movie_table, is_whole_table
from kgspark.kge.model.history_places import Block
from kgspark.kge.model.history_sums import DecayedSums
from kgspark.search_space import Metric

# Largest number of heads; they share the width equally.
_HEADS = 4
# A place counts half as much after so many further ones, in the first and the last head, before training.
_HALF_LIVES = 0.7, 60.0
# Deviation of the first rows of weights and times, whose sizes are far below those of the movies.
_SMALL = 0.02
_ITEM, _OUTPUT, _BIAS = (f"{PREFIX}{name}" for name in ("item", "output", "bias"))
_OWN = (_ITEM, _OUTPUT, _BIAS)

Drop = Callable[[torch.Tensor], torch.Tensor]


class CausalNetwork(nn.Module):
    """The blocks, with the tables of weights and times; the movies' vectors come from outside."""

    def __init__(self, width: int, blocks: int, heads: int, places: int) -> None:
        """Draws its weights from torch's global generator; `places` is the most that queries read."""
        super().__init__()
        self.weights = nn.Parameter(_SMALL * torch.randn(WEIGHT_NUMBERS, width))
        self.gaps, self.waits = (nn.Parameter(_SMALL * torch.randn(TIME_NUMBERS, width)) for _ in range(2))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        self.last, self.out = nn.LayerNorm(width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        # A float as the other tables are, so that all of them change type together.
        self.places: torch.Tensor
        self.register_buffer("places", torch.tensor([float(places)]))

    @classmethod
    def of_tables(cls, tables: Mapping[str, torch.Tensor]) -> "CausalNetwork":
        """The network with these tables, sharing memory; their shapes tell its sizes."""
        blocks = 1 + max(int(name.split(".")[1]) for name in tables if name.startswith("blocks."))
        width, heads = tables["weights"].shape[1], len(tables["blocks.0.log_rates"])
        with torch.device("meta"):
            network = cls(width, blocks, heads, 0)
        network.load_state_dict(dict(tables), assign=True)
        return network

    def forward(self, vectors: torch.Tensor, block: Block, drop: Drop = lambda x: x) -> torch.Tensor:
        """P x''' (B, n, width) at every place of `block`, for the movies' rows of X `vectors` (B, n, width)."""
        x = drop(
            vectors
            + F.embedding(block.weights, self.weights)
            + F.embedding(block.gaps, self.gaps)
            + F.embedding(block.waits, self.waits)
        )
        places = torch.arange(vectors.shape[1], device=vectors.device)
        distance = places[:, None] - places[None]
        for layer in self.blocks:
            x = layer(x, block.present, distance, drop)
        return self.out(self.last(x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.value, self.gate, self.mix = (nn.Linear(width, width) for _ in range(3))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        shortest, longest = (math.log10(half_life) for half_life in _HALF_LIVES)
        half_lives = torch.logspace(shortest, longest, heads)
        self.log_rates = nn.Parameter(torch.log(math.log(2) / half_lives))

    def forward(self, x: torch.Tensor, present: torch.Tensor, distance: torch.Tensor, drop: Drop) -> torch.Tensor:
        normed = self.before(x)
        values = self.value(normed) * present[..., None]
        heads = values.unflatten(2, (len(self.log_rates), -1))
        decays = torch.exp(-distance.clamp(min=0) * self.log_rates.exp()[:, None, None]) * (distance >= 0)
        sums = torch.einsum("hts,bshc->bthc", decays.to(heads.dtype), heads)
        sums = F.layer_norm(sums, sums.shape[-1:]).flatten(2)
        x = x + drop(self.mix(sums * F.silu(self.gate(normed))))
        return x + drop(self.down(drop(F.gelu(self.up(self.between(x))))))


@dataclass(frozen=True)
class HistoryNetwork(HistoryEncoder):
    """The network, with its own tables of movies.

    sums    the decayed sums, of the same width
    item    X float32 (movies, width); output: Δ, likewise; bias: β (movies, 1)
    """

    sums: DecayedSums
    item: torch.Tensor
    output: torch.Tensor
    bias: torch.Tensor
    network: CausalNetwork

    knows_when = True

    @classmethod
    def start(cls, items: torch.Tensor, sums: DecayedSums, blocks: int, places: int, seed: int) -> "HistoryNetwork":
        """An encoder to train, of `sums` that start from the same `items` (movies, width)."""
        width = items.shape[1]
        heads = max(count for count in range(1, _HEADS + 1) if width % count == 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = CausalNetwork(width, blocks, heads, places).to(items.device)
        return cls(sums, items.clone(), torch.zeros_like(items), items.new_zeros(len(items), 1), network)

    @classmethod
    def from_tables(cls, tables: Mapping[str, torch.Tensor]) -> Self:
        """The encoder with these `tables`."""
        whole = {name.removeprefix(WHOLE): table for name, table in tables.items() if is_whole_table(name)}
        maps = {name: table for name, table in tables.items() if is_movie_table(name) and name not in _OWN}
        item, output, bias = (tables[name] for name in _OWN)
        return cls(DecayedSums.from_tables(maps), item, output, bias, CausalNetwork.of_tables(whole))

    @property
    def movie_tables(self) -> dict[str, torch.Tensor]:
        """The tables with a row per movie, by name."""
        return {**self.input_tables, **self.output_tables}

    @property
    def input_tables(self) -> dict[str, torch.Tensor]:
        """The tables whose rows histories read: the maps of the sums, then X."""
        return {**self.sums.tables, _ITEM: self.item}

    @property
    def output_tables(self) -> dict[str, torch.Tensor]:
        """The tables whose rows are scored: Δ and β."""
        return {_OUTPUT: self.output, _BIAS: self.bias}

    @property
    def tables(self) -> dict[str, torch.Tensor]:
        """The tables by their name in a model file, sharing memory; float32 or float64."""
        state = self.network.state_dict()
        return {**self.movie_tables, **{f"{WHOLE}{name}": table for name, table in state.items()}}

    def untrained(self, name: str) -> float:
        """The value in a table's rows of movies that the encoder was not trained on: the smallest β, or 0."""
        return float(self.bias.min()) if name == _BIAS else 0.0

    def forget(self, movies: torch.Tensor) -> None:
        """Makes the movies that `movies` bool (movies,) marks untrained ones; not all of them."""
        self.output[movies] = 0.0
        self.bias[movies] = self.bias[~movies].min()

    def ranked(self, queries: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries [q, 0] and items [t + Δ, β]."""
        padded = torch.cat([queries, queries.new_zeros(len(queries), 1)], dim=1)
        return padded, torch.cat([items + self.output, self.bias], dim=1)

    def ranked_by(self, metric: Metric) -> Metric:
        """The inner product, since t + Δ has any length."""
        return "inner_product"

    @torch.no_grad()
    def queries(self, likes: Histories, asked: np.ndarray | None = None) -> torch.Tensor:
        """[e, 1] (U, width + 1) of all users, on the tables' device and in their type; zeros for one without likes.

        likes  of all users, with times
        asked  int64 (U,): the times, in seconds since 1970, of the likes to predict; None if they are not known
        """
        vectors = self.sums.queries(likes)
        ordered = likes.in_order()
        places = Places.of(ordered, asked)
        last, sizes = ordered.indptr[1:], np.minimum(ordered.sizes, int(self.network.places))
        for users, width in users_by_block(sizes):
            rows = np.resize(users, rows_of_block(width))  # every block of a width has one shape, so the same rounding
            block = Block.of(places, last[rows] - sizes[rows], last[rows], width, vectors.device)
            found = self.network(F.embedding(block.movies, self.item), block)[: len(users), -1]
            vectors[torch.from_numpy(users).to(vectors.device)] += found
        known = torch.from_numpy(sizes > 0).to(vectors)
        return torch.cat([vectors, known[:, None]], dim=1)
