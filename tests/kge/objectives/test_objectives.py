"""The softmax objective: its gradient, its typed ranges, its sampling; and the row-wise Adam under it."""

import math

import numpy as np
import pytest
import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.triples import TripleSet
from kgspark.kge.model.initial import initialise, spectral_vectors
from kgspark.kge.model.scoring import score_matrix, training_scores
from kgspark.kge.model.two_tower import build_model, parameters_by_table
from kgspark.kge.objectives.losses import listwise_loss
from kgspark.kge.objectives.row_adam import RowAdam
from kgspark.kge.objectives.softmax import SoftmaxObjective
from worlds.graphs import HAS_GENRE, LAYOUT, MODELS, MOVIES, RELATIONS, USERS, block_world, settings


def random_batch(queries=5, items=9, width=6):
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(queries, width, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.randn(items, width, generator=generator, dtype=torch.float64, requires_grad=True)
    positions = torch.randperm(queries * items, generator=generator)[:11].sort().values
    degrees = torch.bincount(positions // items, minlength=queries)
    return q, t, positions, degrees, torch.rand(11, generator=generator, dtype=torch.float64)


def plain_scores(q, t, metric):
    if metric == "l1":
        return -(q[:, None] - t[None]).abs().sum(-1)
    if metric != "modulus":
        return q @ t.T
    both = [torch.complex(*x.chunk(2, dim=1)) for x in (q, t)]
    terms = [(both[0] ** k @ (both[1] ** k).conj().T).real / (4 * k * k - 1) for k in (1, 2, 3)]
    return 8 / math.pi * torch.stack(terms).sum(0)


@pytest.mark.parametrize(("spared", "top"), [(0.0, 0), (0.3, 0), (0.3, 4), (0.0, 50)])
@pytest.mark.parametrize("metric", ["inner_product", "l1", "l2", "modulus"])
def test_softmax_gradient_equals_plain_autograds(metric, spared, top):
    q, t, positions, degrees, weights = random_batch()
    log_counts = torch.linspace(0, 1, len(t), dtype=torch.float64)
    loss = listwise_loss(training_scores(q, t, metric), positions, degrees, weights, 0.3, log_counts, spared, top)
    (loss * 0.5).backward()
    by_hand = q.grad.clone(), t.grad.clone()
    q.grad = t.grad = None

    logits = plain_scores(q, t, metric) / 0.3 + log_counts
    plain = torch.zeros((), dtype=torch.float64)
    for position, weight in zip(positions.tolist(), weights, strict=True):
        row, column = divmod(position, len(t))
        others = [at % len(t) for at in positions.tolist() if at // len(t) == row and at != position]
        rivalry = torch.ones(len(t), dtype=torch.float64)
        rivalry[others] = 1 - spared
        if top:  # a number, without a gradient
            own = logits[row].detach().sort(descending=True).values
            weight = weight * 2 / (1 + math.exp((own[min(top, len(t)) - 1] - logits[row, column].item()) / 3))
        plain = plain - weight * (logits[row, column] - (rivalry * logits[row].exp()).sum().log())
    (plain * 0.5).backward()

    assert loss.item() == pytest.approx(plain.item())
    torch.testing.assert_close(by_hand, (q.grad, t.grad))


def test_training_scores_order_unit_items_as_l2_does():
    q, t, *_ = random_batch()
    unit = torch.nn.functional.normalize(t)
    cheap, exact = training_scores(q, unit, "l2"), score_matrix(q, unit, "l2")
    assert torch.equal(cheap.argsort(dim=1), exact.argsort(dim=1))


def test_rotate_trains_on_moduli_but_for_the_last_terms_of_their_series():
    """The terms from the fourth on have a sum of at most 0.182, at the angle 0, and are small at other angles."""
    angles = torch.linspace(-math.pi, math.pi, 721)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    one = torch.tensor([[1.0, 0.0]])
    error = (training_scores(one, circle, "modulus") - 4 / math.pi - score_matrix(one, circle, "modulus")).abs()[0]
    assert error[360] == pytest.approx(8 / math.pi * (1 / 2 - 1 / 3 - 1 / 15 - 1 / 35), abs=1e-4)
    assert error.max() == error[360]
    assert error[angles.abs() > 0.6].max() < 0.07
    assert error.median() < 0.03
    # Summed over the many coordinates of a query and an item, the errors are nearly constant.
    q, t = (torch.randn(n, 64, generator=torch.Generator().manual_seed(n)) for n in (20, 30))
    unit_q, unit_t = (x / torch.hypot(*x.chunk(2, dim=1)).repeat(1, 2) for x in (q, t))
    both = torch.stack([f(unit_q, unit_t, "modulus").flatten() for f in (training_scores, score_matrix)])
    assert torch.corrcoef(both)[0, 1] > 0.998


def test_row_adam_on_all_rows_is_torchs_adam():
    generator = torch.Generator().manual_seed(3)
    own = torch.randn(6, 4, generator=generator)
    theirs = torch.nn.Parameter(own.clone())
    adam, row_adam = torch.optim.Adam([theirs], lr=0.1), RowAdam({"rows": own})
    for step in range(5):
        theirs.grad = torch.randn(6, 4, generator=generator)
        rows = slice(None) if step % 2 else torch.arange(6)
        row_adam.update("rows", rows, theirs.grad, 0.1)
        adam.step()
    torch.testing.assert_close(own, theirs.detach())


def test_row_adam_leaves_other_rows_alone():
    table = torch.ones(5, 2)
    RowAdam({"rows": table}).update("rows", torch.tensor([1, 3]), torch.ones(2, 2), 0.5)
    assert torch.equal(table[[0, 2, 4]], torch.ones(3, 2))
    assert (table[[1, 3]] < 1).all()


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_genre_triples_touch_no_movie_as_a_tail(name, norm):
    """With has_genre alone, the softmax runs over genres: users, and movies without a genre, must not move."""
    world = block_world()
    pairs = world.pairs(HAS_GENRE)
    some = pairs.heads < USERS + 10  # only ten movies have a genre
    only = Graph(TripleSet({("train", 1): pairs.at(some)}), LAYOUT, RELATIONS)
    chosen = settings(model=name, norm=norm, init="normal")
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    initialise(model, only, chosen)
    before = {key: table.clone() for key, table in parameters_by_table(model).items()}

    SoftmaxObjective(model, only, chosen).epoch(1, lambda done: 0.1)

    moved = torch.zeros(LAYOUT.size, dtype=torch.bool)
    for key, table in parameters_by_table(model).items():
        if key.startswith("entity"):
            moved |= (table != before[key]).any(1)
    assert moved[USERS : USERS + 10].all()
    assert moved[USERS + MOVIES :].all()
    assert not moved[:USERS].any()
    assert not moved[USERS + 10 : USERS + MOVIES].any()


def test_sampled_denominator_is_unbiased():
    """Over many draws, the sampled softmax's sum of exponentials averages to the whole range's."""
    chosen = settings(negatives=6, init="normal", dim=4)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    objective = SoftmaxObjective(model, block_world(), chosen)
    task = objective.batches.tasks[0]
    batch = task.tails.pick(np.array([0, 4]))
    exponentials = torch.linspace(0.1, 5, MOVIES)
    tails = torch.from_numpy(batch.indices)
    generator = torch.Generator().manual_seed(0)
    totals = []
    for _ in range(3000):
        found = objective._candidates(task, tails, generator)
        assert torch.equal(found.rows[found.columns] - USERS, tails)
        totals.append((exponentials[found.rows - USERS] * found.log_counts.exp()).sum().item())
    assert np.mean(totals) == pytest.approx(exponentials.sum().item(), rel=0.01)


def test_spectral_vectors_span_the_singular_space():
    generator = np.random.default_rng(5)
    dense = generator.random((30, 20)) < 0.3
    dense[0] = False
    likes = Histories.of(map(np.flatnonzero, dense))

    heads_found, tails_found = spectral_vectors(likes, 20, 6, torch.Generator().manual_seed(0))

    degree = np.sqrt(np.maximum(dense.sum(1), 1))[:, None] * np.maximum(dense.sum(0), 1) ** 0.4
    u, s, vt = np.linalg.svd(dense / degree)
    for found, expected in ((heads_found, u[:, :6] * s[:6]), (tails_found, vt[:6].T * s[:6])):
        unit = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
        close = np.abs(found.numpy() @ found.numpy().T - unit @ unit.T).max()  # independent of the vectors' signs
        assert close < 0.1
    assert not heads_found[0].any()
