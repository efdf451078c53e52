"""Training: it learns a known world, repeats itself byte for byte, survives a kill, and stops when it should."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.shards import read_graph
from kgspark.kge.export.model_files import load_model, save_model
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.two_tower import parameters_by_table
from kgspark.kge.safetensors_io import read_safetensors
from kgspark.kge.training import checkpoints, plan
from kgspark.kge.training.training import train
from kgspark.search_space import pairwise_scores
from worlds.graphs import (
    GROUPS,
    LAYOUT,
    LIKED,
    MODELS,
    RELATIONS,
    USERS,
    block_columns,
    block_world,
    settings,
    write_shards,
)


def weights(model):
    return {name: table.cpu().numpy().tobytes() for name, table in parameters_by_table(model).items()}


def run(folder, progress=None, world=None, **changes):
    folder.mkdir(exist_ok=True)
    return train(world or block_world(), settings(**changes), folder, progress)


class KilledError(Exception):
    """Represents the end of the process."""


def kill_after(epoch):
    def progress(record):
        if record.epoch == epoch:
            raise KilledError

    return progress


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_block_world_is_learned(tmp_path, name, norm):
    """The withheld movie is the only unseen movie of the user's group, so it must be first, for every user."""
    chosen = {"model": name, "norm": norm, "epochs": 30, "validation": {"patience": 30, "every": 5}}
    # Sums over coordinates (l1, modulus) and unbounded products are larger numbers than the products of unit vectors.
    scale = 1.0 if name != "transe" or norm == 1 else 0.2
    trained = run(tmp_path, **chosen, temperature=scale, learning_rate=0.02)
    assert trained.valid["ndcg@10"] == 1
    assert trained.test["hit@10"] == trained.test["mrr@10"] == 1
    assert trained.popularity["mrr@10"] < 0.6

    space = export_search_space(trained.model, block_world(), settings(**chosen))
    likes = block_world().histories(LIKED)
    for user in range(USERS):
        scores = pairwise_scores(space, np.full(32, user), np.arange(32))
        scores[likes.pick(np.array([user])).indices] = -np.inf
        assert scores.argmax() % GROUPS == user % GROUPS


def test_block_world_is_learned_from_random_vectors(tmp_path):
    trained = run(
        tmp_path,
        init="normal",
        epochs=40,
        validation={"patience": 40, "every": 5},
        temperature=0.2,
        learning_rate=0.02,
    )
    assert trained.test["hit@10"] == 1
    assert trained.test["mrr@10"] > 0.9


@pytest.mark.parametrize("changes", [{"negatives": 8}, {"dropout": 0.2}, {"ema": 0.5}, {"l2": 0.001, "n3": 0.001}])
def test_block_world_is_learned_with_variations(tmp_path, changes):
    trained = run(tmp_path, epochs=40, validation={"patience": 40}, temperature=0.2, learning_rate=0.02, **changes)
    assert trained.test["mrr@10"] > 0.9


@pytest.mark.parametrize("objective", ["bpr", "warp"])
def test_block_world_is_ranked_by_pairs(tmp_path, objective):
    quick = {"epochs": 40, "validation": {"patience": 40}, "batch_size": 64, "dim": 8, "learning_rate": 0.02}
    trained = run(tmp_path, objective=objective, **quick)
    assert trained.test["mrr@10"] > 0.9


def test_an_inverse_relation_leads_back(tmp_path):
    """Genres are only tails, but the inverse of has_genre ranks a genre's movies first."""
    chosen = settings(epochs=30, validation={"every": 30}, temperature=0.2, learning_rate=0.02)
    trained = train(block_world().with_inverses(), chosen, tmp_path)
    assert trained.test["mrr@10"] == 1
    heads, tails = (range(*LAYOUT.range(kind)) for kind in ("genre", "movie"))
    scores = trained.model.cpu().score_triples(torch.tensor([[head, 3, tail] for head in heads for tail in tails]))
    best = scores.view(len(heads), len(tails)).topk(len(tails) // GROUPS).indices
    assert (best % GROUPS == torch.arange(len(heads))[:, None]).all()


@pytest.mark.parametrize(
    "changes",
    [{"dropout": 0.1}, {"n3": 0.01}, {"objective": "softplus"}, {"objective": "warp", "dim": 8}],
    ids=str,
)
def test_two_runs_give_the_same_bytes(tmp_path, changes):
    first, second = (run(tmp_path / name, **changes) for name in "ab")
    other = run(tmp_path / "c", **changes, seed=43)
    assert weights(first.model) == weights(second.model) != weights(other.model)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.5, "dropout": 0.1, "negatives": 8},
        {"ema": 0.0, "refit": "continue"},
        {"objective": "softplus", "dim": 8},
        {"objective": "margin", "model": "rotate", "dim": 8},
        {"objective": "bpr", "dim": 8, "batch_size": 64},
    ],
)
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, changes):
    quick = {"epochs": 6, "validation": {"patience": 6}, "checkpoint_every": 2, **changes}
    whole = run(tmp_path / "whole", **quick)
    (tmp_path / "killed").mkdir()
    with pytest.raises(KilledError):
        run(tmp_path / "killed", kill_after(5), **quick)
    seen = []
    resumed = run(tmp_path / "killed", lambda epoch: seen.append(epoch.epoch), **quick)

    assert (resumed.resumed_from, seen) == (4, [5, 6])
    assert weights(resumed.model) == weights(whole.model)
    # The best weights may be early ones: the last checkpoints hold the last weights and the optimizer's moments.
    last = [read_safetensors(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "killed")]
    assert last[0].keys() == last[1].keys()
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    assert (resumed.best_epoch, resumed.valid, resumed.test) == (whole.best_epoch, whole.valid, whole.test)
    with open(tmp_path / "killed" / "metrics.csv", encoding="utf-8") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("changes", [{"seed": 1}, {"learning_rate": 0.001}, {"temperature": 0.7}])
def test_a_checkpoint_of_other_settings_is_left_alone(tmp_path, changes):
    run(tmp_path, checkpoint_every=1)
    assert run(tmp_path, checkpoint_every=1, **changes).resumed_from == 0


def test_no_checkpoint_is_left_not_even_an_unfinished_one_of_a_killed_process(tmp_path):
    names = ("checkpoint.safetensors", ".checkpoint.safetensors.17", ".checkpoint-2-of-worker-1.safetensors")
    for name in (*names, "metrics.csv"):
        (tmp_path / name).touch()
    checkpoints.discard(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("damage", ["cut", "one bit", "zeroes"])
def test_a_broken_checkpoint_is_left_alone(tmp_path, damage):
    run(tmp_path, checkpoint_every=1)
    file = tmp_path / "checkpoint.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[-100:]
    elif damage == "one bit":
        content[-50] ^= 1
    else:
        content[-400:] = bytes(400)
    file.write_bytes(content)
    assert run(tmp_path, checkpoint_every=1).resumed_from == 0
    checkpoints.discard(tmp_path)
    assert not file.exists()


def test_sharding_does_not_change_the_model(tmp_path):
    columns = block_columns()
    found = []
    for shards in (1, 5):
        order = np.random.default_rng(shards).permutation(len(columns["head"]))
        write_shards(tmp_path / f"triples-{shards}", columns, order, shards)
        world = read_graph(tmp_path / f"triples-{shards}", LAYOUT, RELATIONS)
        found.append(weights(run(tmp_path / f"run-{shards}", world=world).model))
    assert found[0] == found[1]


def test_stops_early_and_keeps_the_best_weights(tmp_path, monkeypatch):
    """NDCG is made to rise until epoch 3 and then fall: after two worse evaluations, epoch 3 is restored."""
    measured = iter([0.1, 0.2, 0.3, 0.2, 0.1, 0.4])
    real = plan.evaluate
    monkeypatch.setattr(plan, "evaluate", lambda *args: {"ndcg@10": next(measured)})

    def progress(epoch):
        monkeypatch.setattr(plan, "evaluate", lambda *args: {"ndcg@10": next(measured)})
        if epoch.epoch == 5:
            monkeypatch.setattr(plan, "evaluate", real)

    trained = run(tmp_path / "stopping", progress, epochs=9, validation={"patience": 2}, schedule="constant")
    assert (trained.best_epoch, len(trained.history), trained.stopped_early) == (3, 5, True)
    monkeypatch.setattr(plan, "evaluate", real)
    three = run(tmp_path / "three", epochs=3, validation={"every": 3}, schedule="constant")
    assert weights(trained.model) == weights(three.model)


def test_without_validation_likes_the_last_epoch_is_kept(tmp_path):
    trained = run(tmp_path, world=block_world().without("valid"))
    assert (trained.best_epoch, trained.valid, trained.stopped_early) == (4, {}, False)


@pytest.mark.parametrize("refit", ["continue", "anew"])
@pytest.mark.parametrize(("learned", "unseen"), [("all", ()), ("train+valid", ("test",))])
def test_refit_learns_the_held_out_likes_after_the_metrics(tmp_path, refit, learned, unseen):
    quick = {"export": {"facts_prior": 0.0}, "learning_rate": 0.01}
    plain = run(tmp_path / "plain", **quick)
    refitted = run(tmp_path / "refitted", refit=refit, refit_on=learned, **quick)
    assert refitted.refitted
    assert refitted.test == plain.test
    assert weights(refitted.measured) == weights(plain.model)
    spaces = [export_search_space(t.model, block_world(), settings()) for t in (plain, refitted)]
    for split in {"valid", "test"} - set(unseen):
        held_out = block_world().pairs(LIKED, (split,))
        before, after = (pairwise_scores(space, held_out.heads, held_out.tails - USERS).mean() for space in spaces)
        assert after > before
    if unseen:
        blind = run(tmp_path / "blind", world=block_world().without("test"), refit=refit, refit_on=learned, **quick)
        assert weights(blind.model) == weights(refitted.model)


@pytest.mark.parametrize("objective", ["softplus", "margin"])
@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_stock_recipe_runs_and_its_loss_falls(tmp_path, objective, name, norm):
    stock = {"model": name, "norm": norm, "objective": objective, "epochs": 8, "learning_rate": 0.02}
    trained = run(tmp_path, **stock, batch_size=64, validation={"every": 8})
    losses = [epoch.train_loss for epoch in trained.history]
    assert losses[-1] < losses[0]
    assert all(math.isfinite(loss) for loss in losses)


def test_run_folder_is_what_the_dashboard_reads(tmp_path):
    from tgraphx.dashboard.app import _list_runs, _parse_metrics

    trained = run(tmp_path, validation={"every": 2})
    assert _list_runs(str(tmp_path))["mode"] == "single"
    metrics = _parse_metrics((tmp_path / "metrics.csv").read_text(encoding="utf-8"))
    assert {"epoch", "train_loss", "ndcg", "learning_rate", "seconds"} <= set(metrics["headers"])
    assert len(metrics["rows"]) == 4
    results = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert results["status"] == "completed"
    assert results["test"] == trained.test
    assert {"torch", "tgraphx"} <= set(results["versions"])
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model"] == "transe"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.csv", "config.json", "run.json", "run_metadata.json"}


def test_saved_model_comes_back(tmp_path):
    trained = run(tmp_path, model="complex")
    chosen = settings(model="complex")
    for name in ("one", "two"):
        save_model(tmp_path / name, trained.model, block_world(), chosen)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded = load_model(tmp_path / "one")
    assert (loaded.settings, loaded.layout, list(loaded.relations)) == (chosen, LAYOUT, RELATIONS)
    assert weights(loaded.build()) == weights(trained.model)


def test_a_graph_without_the_target_is_a_clear_error(tmp_path):
    with pytest.raises(StageError, match="no relation 'watched'; it has liked, has_genre"):
        run(tmp_path, target="watched")
    with pytest.raises(StageError, match="'liked' has no train triples"):
        run(tmp_path, world=block_world().without("train"))


def test_divergence_is_a_clear_error(tmp_path):
    with pytest.raises(StageError, match=r"lower train\.learning_rate"):
        run(tmp_path, model="distmult", learning_rate=1e30, epochs=3)


def test_a_missing_gpu_is_a_clear_error(tmp_path):
    count = torch.cuda.device_count()
    with pytest.raises(StageError, match="use auto"):
        run(tmp_path, device=f"cuda:{count}")


def test_fewer_movies_than_dimensions_and_list_places(tmp_path):
    """Training and evaluation also work for a catalogue smaller than k and dim."""
    layout = EntityLayout.from_counts([("user", USERS), ("movie", 4), ("genre", 4)])
    columns = block_columns()
    few = (columns["relation"] == 0) & (columns["tail"] < USERS + 4)
    world = Graph.from_columns({name: column[few] for name, column in columns.items()}, layout, RELATIONS)
    trained = train(world, settings(dim=16), tmp_path)
    assert trained.model.entity_emb.weight.isfinite().all()


@pytest.mark.gpu
@pytest.mark.parametrize("objective", ["softmax", "softplus", "bpr"])
def test_a_gpu_learns_what_a_cpu_learns_and_repeats_itself(tmp_path, objective):
    chosen = {"objective": objective, "epochs": 20, "validation": {"patience": 20}, "learning_rate": 0.02, "dim": 8}
    first, second, on_cpu = (
        run(tmp_path / name, device=device, **chosen) for name, device in (("a", "cuda"), ("b", "cuda"), ("c", "cpu"))
    )
    assert first.device.startswith("cuda")
    assert weights(first.model) == weights(second.model)
    assert first.history[0].train_loss == pytest.approx(on_cpu.history[0].train_loss, rel=0.2)
    assert first.test["mrr@10"] == pytest.approx(on_cpu.test["mrr@10"], abs=0.15)
