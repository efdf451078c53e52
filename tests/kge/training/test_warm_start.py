"""Yesterday's vectors go to the same users, movies and relations with today's numbers, and to nothing else."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from kgspark.errors import InputError, StageError
from kgspark.graph.relation import Relation
from kgspark.kge.export.model_files import save_model
from kgspark.kge.model.two_tower import build_model, parameters_by_table
from kgspark.kge.training.training import train
from kgspark.kge.training.warm_start import carry_over
from worlds.graphs import LAYOUT, MODELS, RELATIONS, USERS, block_world, settings


def entities(layout, first_ids):
    kinds, ids = [], []
    for kind, (start, stop) in layout.ranges.items():
        kinds += [kind] * (stop - start)
        ids += [str(first_ids.get(kind, 0) + i) for i in range(stop - start)]
    return pa.table({"index": np.arange(layout.size), "kind": kinds, "external_id": ids})


def old_model(path, name="transe", norm=2):
    torch.manual_seed(0)
    chosen = settings(model=name, norm=norm)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    save_model(path, model, block_world(), chosen)
    return chosen, model


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_rows_follow_kind_and_external_id(tmp_path, name, norm):
    chosen, old = old_model(tmp_path / "model", name, norm)
    # Today user ids start at 5 (five users left, five are new); ids of movies and genres are unchanged.
    today = [Relation(0, "released_in", "movie", "genre"), Relation(1, "liked", "user", "movie")]
    shuffled = entities(LAYOUT, {"user": 5}).take(np.random.default_rng(0).permutation(LAYOUT.size))
    warm = carry_over(tmp_path / "model", entities(LAYOUT, {}), shuffled, today, chosen)

    torch.manual_seed(1)
    new = build_model(chosen, LAYOUT.size, 2)
    fresh = {key: table.clone() for key, table in parameters_by_table(new).items()}
    warm.apply(new)

    assert (warm.carried_entities, warm.carried_relations) == (LAYOUT.size - 5, 1)
    before = parameters_by_table(old)
    for key, table in parameters_by_table(new).items():
        if key.startswith("entity"):
            assert torch.equal(table[: USERS - 5], before[key][5:USERS])
            assert torch.equal(table[USERS - 5 : USERS], fresh[key][USERS - 5 : USERS])
            assert torch.equal(table[USERS:], before[key][USERS:])
        else:
            assert torch.equal(table[1], before[key][0])  # liked
            assert torch.equal(table[0], fresh[key][0])


def test_training_starts_from_the_carried_rows(tmp_path):
    chosen, old = old_model(tmp_path / "model")
    warm = carry_over(tmp_path / "model", entities(LAYOUT, {}), entities(LAYOUT, {}), RELATIONS, chosen)
    slow = settings(learning_rate=1e-9, epochs=1, export={"facts_prior": 0.0})
    trained = train(block_world(), slow, tmp_path, initial=warm)
    for key, table in parameters_by_table(trained.model).items():
        torch.testing.assert_close(table.cpu(), parameters_by_table(old)[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize("changes", [{"model": "distmult"}, {"dim": 9}, {"norm": 1}])
def test_another_kind_of_model_is_a_clear_error(tmp_path, changes):
    old_model(tmp_path / "model")
    with pytest.raises(StageError, match=r"train\.warm_start: .* was trained with"):
        carry_over(tmp_path / "model", entities(LAYOUT, {}), entities(LAYOUT, {}), RELATIONS, settings(**changes))


def test_an_entities_table_of_another_night_is_a_clear_error(tmp_path):
    chosen, _ = old_model(tmp_path / "model")
    everyone = entities(LAYOUT, {})
    with pytest.raises(StageError, match="76 entities, its entities table 70"):
        carry_over(tmp_path / "model", everyone.slice(0, 70), everyone, RELATIONS, chosen)


def test_a_model_file_with_a_flipped_bit_is_a_clear_error(tmp_path):
    chosen, _ = old_model(tmp_path / "model")
    content = bytearray((tmp_path / "model").read_bytes())
    content[-9] ^= 16
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(InputError, match=r"model: not a kgspark model file: the content of \S+ changed after"):
        carry_over(tmp_path / "model", entities(LAYOUT, {}), entities(LAYOUT, {}), RELATIONS, chosen)


def test_a_missing_or_foreign_file_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        carry_over(tmp_path / "none", entities(LAYOUT, {}), entities(LAYOUT, {}), RELATIONS, settings())
    (tmp_path / "text").write_text("not a model", encoding="utf-8")
    with pytest.raises(InputError, match="not a kgspark model file"):
        carry_over(tmp_path / "text", entities(LAYOUT, {}), entities(LAYOUT, {}), RELATIONS, settings())
