"""Scores from the model file alone equal those of the search space, for every model, also where queries lean."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kgspark.errors import InputError
from kgspark.graph.graph import Graph
from kgspark.kge.export.model_files import save_model
from kgspark.kge.export.recomputed import ModelFile
from kgspark.kge.export.search_space import export_search_space, trend_for
from kgspark.kge.model.encoders import start_encoder
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.two_tower import build_model, metric_of, vector_width
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import pairwise_scores
from worlds.graphs import LAYOUT, LIKED, MODELS, MOVIES, RELATIONS, settings, timed_columns

CASES = [(name, norm, 0, "sums", 0) for name, norm in MODELS]
CASES += [("transe", 2, 0.5, "latest", 0), ("complex", 2, 0.35, "latest", 0), ("transe", 2, 0.5, "sums", 0)]
CASES += [("transe", 2, 0, "latest", 2), ("distmult", 2, 0.35, "latest", 0.5), ("transe", 2, 0.5, "sums", 1)]
CASES += [("transe", 2, 0.5, "network", 0), ("complex", 2, 0.35, "network", 2)]


def drawn_encoder(chosen: TrainSettings) -> HistoryEncoder:
    """An encoder of the settings' kind with random tables, as after a training."""
    started = start_encoder(torch.randn(MOVIES, vector_width(chosen)), chosen)

    def drawn(name: str, table: torch.Tensor) -> torch.Tensor:
        return table if name.endswith("places") else table + torch.randn(table.shape) / 3

    return started.changed(drawn)


@pytest.mark.parametrize(("name", "norm", "share", "encoder", "trend"), CASES)
def test_scores_of_a_few_users_equal_those_of_the_search_space(
    tmp_path: Path, name: str, norm: int, share: float, encoder: str, trend: float
) -> None:
    torch.manual_seed(7)
    export = {"recent_share": share, "trend_weight": trend, "trend_half_life": 7}
    chosen = settings(model=name, norm=norm, export=export, history={"encoder": encoder})
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    graph = Graph.from_columns(timed_columns(), LAYOUT, RELATIONS)
    histories = drawn_encoder(chosen) if share and encoder != "latest" else None
    save_model(tmp_path / "model.safetensors", model, graph, chosen, encoder=histories, trend=trend_for(graph, chosen))
    users = np.array([3, 17, 31])
    owners, movies = np.repeat(np.arange(3), MOVIES), np.tile(np.arange(MOVIES), 3)[::-1]
    likes = graph.histories(LIKED, chosen.learned_splits).pick(users)

    file = ModelFile.open(tmp_path / "model.safetensors")
    scores = file.scores(users, owners, movies, likes)

    space = export_search_space(model, graph, chosen, encoder=histories)
    added = trend or (share and encoder == "network")  # numbers are added to the products of the vectors
    assert space.metric == ("inner_product" if added else metric_of(chosen))
    expected = pairwise_scores(space, users[owners], movies)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert file.leans == bool(share)
    few = np.array([MOVIES - 1, MOVIES - 2])  # of few movies, so that other rows of the file are read
    alone = file.scores(users[:1], np.zeros(2, np.int64), few, likes.pick(np.array([0])))
    np.testing.assert_allclose(alone, scores[(owners == 0) & np.isin(movies, few)], rtol=1e-6)
    # Scores of a neighbour differ by much more than the audit's tolerance.
    assert np.abs(scores - file.scores(users - 1, owners, movies, likes)).max() > 0.01 * np.abs(scores).max()


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model file; run train-embeddings first"):
        ModelFile.open(tmp_path / "model.safetensors")
