"""bench models: every tgraphx model with its own recipe, from ratings to metrics, on one split."""

from typing import Any

from kgspark.bench.common import Row, Say
from kgspark.bench.variants.variants import VariantsSettings, figure, run_variants

SETTINGS = VariantsSettings
VARIANTS: dict[str, dict[str, Any]] = {
    "TransE, norm 2": {"train": {"model": "transe"}},
    "TransE, norm 1": {"train": {"model": "transe", "norm": 1}},
    "DistMult": {"train": {"model": "distmult"}},
    "ComplEx": {"train": {"model": "complex"}},
    "SimplE": {"train": {"model": "simple"}},
    "RESCAL": {"train": {"model": "rescal"}},
    "RotatE": {"train": {"model": "rotate"}},
}
COLUMNS = {
    "NDCG@10": figure("ndcg@10"),
    "Recall@10": figure("recall@10"),
    "MRR@10": figure("mrr@10"),
    "filtered MRR": figure("filtered_mrr"),
    "seconds": figure("fit_seconds"),
}


def run(settings: VariantsSettings, say: Say) -> Row:
    """One row per model."""
    return run_variants(settings, VARIANTS, COLUMNS, say)
