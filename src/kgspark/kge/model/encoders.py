"""The encoders of histories that are trained, by their name in `train.history.encoder`."""

from collections.abc import Mapping

import torch

from kgspark.kge.model.history import HistoryEncoder, is_history_table, is_whole_table
from kgspark.kge.model.history_network import HistoryNetwork
from kgspark.kge.model.history_sums import DecayedSums
from kgspark.kge.settings import TrainSettings


def start_encoder(items: torch.Tensor, settings: TrainSettings) -> HistoryEncoder:
    """An encoder to train, of the kind that the settings name, for the model's `items` (movies, width)."""
    history = settings.history
    sums = DecayedSums.start(items, history.half_lives)
    if history.encoder == "network":
        return HistoryNetwork.start(items, sums, history.network.blocks, history.places, settings.seed)
    return sums


def encoder_of(tables: Mapping[str, torch.Tensor]) -> HistoryEncoder | None:
    """The encoder that was saved among the tables of a model file; None if there is none."""
    own = {name: table for name, table in tables.items() if is_history_table(name)}
    if not own:
        return None
    return (HistoryNetwork if any(map(is_whole_table, own)) else DecayedSums).from_tables(own)
