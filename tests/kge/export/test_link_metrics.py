import numpy as np
import pytest
import torch
from tgraphx.kg.evaluation import KGEvaluator

from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.two_tower import build_model
from kgspark.metrics.link import filtered_ranks, link_metrics
from kgspark.retrieval.space_recommender import SpaceRecommender
from worlds.graphs import LAYOUT, LIKED, RELATIONS, block_world, settings


class _AmongMovies(torch.nn.Module):
    """A tgraphx model with the lowest score for every tail that is not a movie, so that movies are the candidates."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def score_triples(self, triples: torch.Tensor) -> torch.Tensor:
        start, stop = LAYOUT.range("movie")
        movie = (triples[:, 2] >= start) & (triples[:, 2] < stop)
        return self.model.score_triples(triples).masked_fill(~movie, -torch.inf)


@pytest.mark.parametrize("name", ["transe", "complex", "rotate"])
def test_ranks_are_those_of_tgraphx(name: str) -> None:
    chosen = settings(model=name, dim=2)
    torch.manual_seed(5)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    graph = block_world()
    splits = {}
    for split in ("train", "valid", "test"):
        pairs = graph.pairs(LIKED, (split,))
        splits[split] = torch.from_numpy(np.stack([pairs.heads, np.zeros_like(pairs.heads), pairs.tails], 1))
    evaluator = KGEvaluator(splits["train"], splits["valid"], splits["test"], LAYOUT.size)
    theirs = evaluator.evaluate(_AmongMovies(model))

    space = export_search_space(model, graph, chosen)
    known, wanted = (graph.histories(LIKED, s) for s in (("train", "valid", "test"), ("test",)))
    scores = SpaceRecommender(space, 1).scores(np.arange(LAYOUT.count("user")))
    ranks = filtered_ranks(scores, known, wanted)
    figures = link_metrics(ranks)
    assert figures["filtered_mrr"] == pytest.approx(theirs.filt_mrr_tail, abs=1e-5)
    for k in (1, 3, 10):
        assert figures[f"filtered_hits@{k}"] == pytest.approx(theirs.filt_hits_tail[k], abs=1e-6)
