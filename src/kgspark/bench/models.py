"""bench models: every tgraphx model with its own recipe, through the whole chain, on one split."""

from collections.abc import Sequence
from typing import Any

from kgspark import config
from kgspark.bench.variants import Say, VariantsSettings, figure, run_variants

VARIANTS: dict[str, dict[str, Any]] = {
    "TransE, norm 2": {"train": {"model": "transe"}},
    "TransE, norm 1": {"train": {"model": "transe", "norm": 1}},
    "DistMult": {"train": {"model": "distmult"}},
    "ComplEx": {"train": {"model": "complex"}},
    "SimplE": {"train": {"model": "simple"}},
    "RESCAL": {"train": {"model": "rescal"}},
    "RotatE": {"train": {"model": "rotate"}},
}
SHOWN = {
    "NDCG@10": figure("ndcg@10"),
    "Recall@10": figure("recall@10"),
    "MRR@10": figure("mrr@10"),
    "filtered MRR": figure("filtered_mrr"),
    "seconds": figure("fit_seconds"),
}


def run(overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """A row a model."""
    settings = config.from_overrides(VariantsSettings, overrides)
    return run_variants("models", settings, VARIANTS, {}, SHOWN, say)
