"""Settings: the objective's own defaults, refusals with the dotted path, and no torch behind them."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from kgspark.kge.settings import TrainSettings


def test_stock_objectives_default_to_the_tutorials_recipe():
    stock = TrainSettings(objective="softplus")
    assert (stock.dim, stock.epochs, stock.batch_size, stock.learning_rate) == (64, 20, 512, 1e-3)
    assert (stock.negatives, stock.init, stock.schedule) == (1, "tgraphx", "constant")
    assert TrainSettings(objective="softplus", epochs=3).epochs == 3


def test_settings_survive_a_round_trip():
    for chosen in (TrainSettings(), TrainSettings(model="distmult"), TrainSettings(objective="margin")):
        assert TrainSettings.model_validate(chosen.model_dump()) == chosen


@pytest.mark.parametrize(
    "wrong",
    [{"dim": 0}, {"epochs": "many"}, {"norm": 3}, {"device": "tpu"}, {"ema": 1.0}, {"temperature": 0}, {"lr": 1}],
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(ValidationError):
        TrainSettings.model_validate(wrong)


def test_every_field_is_described():
    assert all(field.description for field in TrainSettings.model_fields.values())


def test_settings_do_not_import_torch():
    code = "import sys, kgspark.kge.settings; assert not {'torch', 'tgraphx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
