"""Losses of sampled negatives and regularisers, compared with values computed by hand from the papers' formulas."""

import math

import numpy as np
import pytest
import torch
from tgraphx.kg.losses import MarginRankingLoss, SoftplusKGLoss

from kgspark.kge.model.two_tower import build_model, parameters_by_table, tower_of
from kgspark.kge.objectives.losses import negatives_loss, penalty
from kgspark.kge.objectives.sampled import SampledObjective
from worlds.graphs import LAYOUT, MODELS, RELATIONS, block_world, settings

POSITIVES = torch.tensor([0.4, -0.2, 1.0])
NEGATIVES = torch.tensor([[0.1, 0.9, -1.0, 0.2], [-3.0, -0.1, 0.3, 0.0], [-2.0, -2.0, -2.0, -2.0]])


def loss(objective, **changes):
    return negatives_loss(settings(objective=objective, **changes), POSITIVES, NEGATIVES)


def test_stock_losses_are_tgraphxs():
    torch.testing.assert_close(loss("softplus").mean(), SoftplusKGLoss()(POSITIVES, NEGATIVES))
    torch.testing.assert_close(loss("margin", margin=0.7).mean(), MarginRankingLoss(0.7)(POSITIVES, NEGATIVES))


def test_bpr_is_the_negative_log_likelihood_of_the_right_order():
    expected = [
        np.mean([-math.log(1 / (1 + math.exp(-(s - n) / 0.5))) for n in row])
        for s, row in zip(POSITIVES.tolist(), NEGATIVES.tolist(), strict=True)
    ]
    torch.testing.assert_close(loss("bpr", temperature=0.5), torch.tensor(expected, dtype=torch.float32))


def test_warp_weighs_the_first_violator_by_how_early_it_came():
    """Margin ½: for 0.4 the first draw (0.1) violates, for −0.2 the second (−0.1), for 1.0 none."""
    full = 1 + 1 / 2 + 1 / 3 + 1 / 4
    expected = [(0.5 - 0.4 + 0.1) * full, (0.5 + 0.2 - 0.1) * (1 + 1 / 2), 0.0]
    torch.testing.assert_close(loss("warp", margin=0.5), torch.tensor(expected) / full)


@pytest.mark.parametrize("sampler", ["uniform", "typed"])
@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_scores_of_positives_and_negatives_are_score_triples(name, norm, sampler):
    chosen = settings(model=name, norm=norm, objective="softplus", sampler=sampler, negatives=5, seed=3)
    torch.manual_seed(3)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    objective = SampledObjective(model, block_world(), chosen)
    positives = objective.triples[::7]
    negatives = objective.sampler.draw(positives, torch.Generator().manual_seed(1))
    entities, relations = (
        objective.optimizer.leaves(objective.tower.entity_tables, torch.arange(LAYOUT.size)),
        objective.optimizer.leaves(objective.tower.relation_tables, slice(None)),
    )

    scores = objective._scores(entities, relations, tuple(positives.T), negatives.entities.flatten(), negatives.at_head)

    assert negatives.at_head.any()
    assert not negatives.at_head.all()
    torch.testing.assert_close(scores[0], model.score_triples(positives), atol=1e-4, rtol=1e-5)
    flat = negatives.triples(positives).reshape(-1, 3)
    torch.testing.assert_close(scores[1].flatten(), model.score_triples(flat), atol=1e-4, rtol=1e-5)


def test_a_triples_weight_scales_its_gradient():
    """The vector of a relation of weight 0 does not change."""
    chosen = settings(objective="softplus", batch_size=64)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    before = parameters_by_table(model)["relation_emb"].clone()
    SampledObjective(model, block_world().weighted({"has_genre": 0.0}), chosen).epoch(1, lambda done: 0.1)
    moved = (parameters_by_table(model)["relation_emb"] != before).any(1)
    assert moved.tolist() == [True, False]


def test_penalties_are_the_papers():
    """ComplEx: N3 is a third of the cubed moduli, L2 the squared moduli; each row counts once per read."""
    chosen = settings(model="complex", l2=0.5, n3=0.2)
    real, imaginary = torch.tensor([[3.0, 0.0], [1.0, 2.0]]), torch.tensor([[4.0, 1.0], [0.0, 0.0]])
    counts = torch.tensor([2, 1])
    expected = sum(
        times * sum(0.5 * size**2 + 0.2 / 3 * size**3 for size in sizes)
        for times, sizes in ((2, (5.0, 1.0)), (1, (1.0, 2.0)))
    )
    found = penalty(chosen, tower_of(chosen), ({"entity_re": real, "entity_im": imaginary}, counts))
    assert found.item() == pytest.approx(expected, rel=1e-5)
