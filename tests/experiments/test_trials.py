"""A trial of `kgspark tune` on the block world: it uses no test like, and weights act as in a file."""

import numpy as np
import pytest

from kgspark.errors import StageError
from kgspark.experiments.trials import Trainer, read_trial_graph
from kgspark.manifests import Manifest
from kgspark.tables import ENTITIES, TRAIN, TRIPLES, VALID
from kgspark.tuning.study import PrunedError
from nights import a_night
from worlds.graphs import LAYOUT, RELATIONS, block_columns, settings, write_shards


def night(lake, columns):
    chosen = settings(epochs=6, init="normal", learning_rate=0.01, export={"facts_prior": 0.0})
    train = chosen.model_dump(exclude={"refit_on"})
    made = a_night(lake, source={"path": "x"}, train=train)
    made.run.folder.mkdir(parents=True)
    write_shards(made.run.table(TRIPLES), columns, np.arange(len(columns["head"])), 1)
    made.run.table(ENTITIES).mkdir()
    for table, details in (
        (TRIPLES, {"relations": [relation.to_json() for relation in RELATIONS]}),
        (ENTITIES, {"layout": LAYOUT.to_json()}),
    ):
        Manifest(table, "test", "f", {}, {}, [], details=details).write(made.run.table(table))
    return made


def trained(base, folder, changes=None):
    folder.mkdir(exist_ok=True)
    figures = []
    value = Trainer(base, folder).train(
        changes or {}, lambda epoch, epochs, ndcg: figures.append((epoch, epochs, ndcg))
    )
    return value, figures


def test_a_trial_is_the_same_whatever_the_test_likes_are(tmp_path):
    columns = block_columns()
    other = {name: values.copy() for name, values in columns.items()}
    test = other["split"] == "test"
    other["tail"][test] = other["tail"][test][::-1]
    without = {name: values[~test] for name, values in columns.items()}
    seen = [
        trained(night(tmp_path / f"lake{n}", some), tmp_path / str(n))
        for n, some in enumerate((columns, other, without))
    ]
    assert seen[0] == seen[1] == seen[2]
    value, figures = seen[0]
    assert value == max(ndcg for _, _, ndcg in figures)
    assert [(epoch, epochs) for epoch, epochs, _ in figures] == [(n, 6) for n in range(1, len(figures) + 1)]
    assert {split for split, _ in read_trial_graph(night(tmp_path / "again", columns)).triples.parts} == {TRAIN, VALID}


def test_a_weight_that_is_a_number_is_every_triples_weight(tmp_path):
    columns = block_columns()
    columns["weight"] = np.where(columns["relation"] == 1, np.float32(0.1), np.float32(1))
    base = night(tmp_path / "lake", columns)
    written = night(tmp_path / "written", columns | {"weight": np.where(columns["relation"] == 1, np.float32(0.7), 1)})
    graph = read_trial_graph(base).weighted({"has_genre": 0.7})
    assert graph.fingerprint() == read_trial_graph(written).fingerprint()
    changed = trained(base, tmp_path / "a", {"relations.has_genre.weight": 0.7})
    assert changed == trained(written, tmp_path / "b")
    assert changed == trained(base, tmp_path / "a", {"relations.has_genre.weight": "0.7"})
    assert changed != trained(base, tmp_path / "a")


def test_a_pruned_trial_leaves_nothing_behind(tmp_path):
    base, folder = night(tmp_path / "lake", block_columns()), tmp_path / "search"
    folder.mkdir()
    trainer = Trainer(base, folder)

    def behind(epoch, epochs, ndcg):
        if epoch == 2:
            raise PrunedError

    with pytest.raises(PrunedError):
        trainer.train({"train.dim": 16}, behind)
    figures = []
    value = trainer.train({}, lambda *figure: figures.append(figure))
    assert (value, figures) == trained(base, tmp_path / "fresh")


def test_a_split_without_validation_likes_is_an_error(tmp_path):
    columns = block_columns()
    kept = columns["split"] != "valid"
    with pytest.raises(StageError, match="leaves no validation likes"):
        read_trial_graph(night(tmp_path, {name: values[kept] for name, values in columns.items()}))
