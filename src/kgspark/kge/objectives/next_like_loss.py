"""The softmax over the next like: at every place of a user's history, movies compete to be the like that follows.

The loss of a place is −log softmax((e · t + β_t) / τ) over the movies t, with e of the likes before it. Klenitskiy and
Vasilev 2023 (“Turning Dross Into Gold Loss”) show what the full softmax is worth for sequences.
"""

import math

import torch

from kgspark.kge.objectives.row_adam import RowIndex

# Number of queries whose scores are in memory at once: few enough for a cache.
_CHUNK = {"cpu": 1024, "cuda": 8192}


def next_like_loss(
    queries: torch.Tensor,
    items: torch.Tensor,
    wanted: torch.Tensor,
    log_counts: torch.Tensor | None,
    temperature: float,
    kind: torch.dtype,
    bias: torch.Tensor | None = None,
    counted: torch.Tensor | None = None,
) -> torch.Tensor:
    """The sum of the losses of `queries` float32 (n, width); gradients are those by `queries`, `items` and `bias`.

    items   float32 (m, width): the movies that compete; bias: their β (m, 1), 0 if None
    wanted  int64 (n,): the row of the movie that follows
    log_counts  float32 (m,): log of the number of movies that each row stands for; None for one each
    kind    the type of the matrix products
    counted bool (n,): the queries that have a loss; None for all
    """
    loss: torch.Tensor = _NextLikeLoss.apply(queries, items, wanted, log_counts, temperature, kind, bias, counted)
    return loss


def competitors(
    wanted: torch.Tensor, movies: int, size: int, generator: torch.Generator
) -> tuple[RowIndex, torch.Tensor, torch.Tensor | None]:
    """The rows of the movies that compete in a step, the places of the wanted ones among them, and log-Q corrections.

    They are all movies, or, with a sample of `size`, the wanted ones of the step and some of the others: see
    `SoftmaxObjective`.
    """
    own = torch.unique(wanted)
    rest = movies - len(own)
    if not size or rest <= size:
        return slice(None), wanted, None
    drawn = torch.randint(rest, (size,), generator=generator, device=wanted.device)
    # The drawn numbers count the movies that are not wanted; a sorted search skips the wanted ones.
    gaps = own - torch.arange(len(own), device=wanted.device)
    others = drawn + torch.searchsorted(gaps, drawn, right=True)
    log_counts = torch.zeros(len(own) + size, device=wanted.device)
    log_counts[len(own) :] = math.log(rest / size)
    return torch.cat([own, others]), torch.searchsorted(own, wanted), log_counts


class _NextLikeLoss(torch.autograd.Function):
    """In chunks of queries; the gradients are made in the same pass."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        queries: torch.Tensor,
        items: torch.Tensor,
        wanted: torch.Tensor,
        log_counts: torch.Tensor | None,
        temperature: float,
        kind: torch.dtype,
        bias: torch.Tensor | None,
        counted: torch.Tensor | None,
    ) -> torch.Tensor:
        scaled = (items / temperature).to(kind)
        of_queries, total = torch.empty_like(queries), queries.new_zeros((), dtype=torch.float64)
        of_items = torch.zeros_like(items) if ctx.needs_input_grad[1] else None  # type: ignore[attr-defined]
        of_bias = None if bias is None else torch.zeros_like(bias)
        added = log_counts if bias is None else bias[:, 0] / temperature + (0.0 if log_counts is None else log_counts)
        size = _CHUNK[queries.device.type]
        kept = [None] * -(-len(queries) // size) if counted is None else counted[:, None].split(size)
        chunks = zip(queries.split(size), of_queries.split(size), wanted.split(size), kept, strict=True)
        for part, of_part, columns, counts in chunks:
            logits = (part.to(kind) @ scaled.T).float()
            if added is not None:
                logits += added
            logits -= logits.amax(1, keepdim=True)
            of_wanted = logits.gather(1, columns[:, None]).squeeze(1)
            sums = logits.exp_().sum(1)
            losses = sums.log() - of_wanted
            logits /= sums[:, None]
            logits[torch.arange(len(columns), device=columns.device), columns] -= 1
            if counts is not None:
                losses, logits = losses * counts[:, 0], logits.mul_(counts)
            total += losses.sum(dtype=torch.float64)
            errors = logits.to(kind)
            of_part.copy_(errors @ scaled)
            if of_items is not None:
                of_items += (errors.T @ part.to(kind)).float()
            if of_bias is not None:
                of_bias += logits.sum(0)[:, None]
        ctx.save_for_backward(of_queries, of_items, of_bias)  # type: ignore[arg-type]
        ctx.temperature = temperature  # type: ignore[attr-defined]
        return total.float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *of_loss: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_queries, of_items, of_bias = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = of_loss[0] / ctx.temperature  # type: ignore[attr-defined]
        by_items, by_bias = (None if part is None else part * scale for part in (of_items, of_bias))
        return of_queries * of_loss[0], by_items, None, None, None, None, by_bias, None
