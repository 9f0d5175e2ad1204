"""What is read of the files that the real XGBoost and LightGBM write."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest
import xgboost

from forebay.serving.formats.forest import Forest, read_lightgbm, read_xgboost

ROWS = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
CLASSES = np.digitize(ROWS[:, 0], [-0.5, 0.5])
TRUTHS = {1: CLASSES > 1, 3: CLASSES}


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_xgboost(tmp_path: Path, suffix: str, outputs: int) -> None:
    several = {"objective": "multi:softprob", "num_class": 3} if outputs == 3 else {"objective": "binary:logistic"}
    booster = xgboost.train(several, xgboost.DMatrix(ROWS, TRUTHS[outputs]), 3)
    # The user's own words, among which nothing is looked for.
    booster.set_attr(note='learner_model_param "num_feature":"99"')
    booster.save_model(tmp_path / f"m.{suffix}")
    assert read_xgboost(tmp_path / f"m.{suffix}") == (Forest(12, outputs), f"xgboost_{suffix}")


@pytest.mark.parametrize("outputs", [1, 3])
def test_lightgbm(tmp_path: Path, outputs: int) -> None:
    several = {"objective": "multiclass", "num_class": 3} if outputs == 3 else {"objective": "binary"}
    booster = lightgbm.train({"verbose": -1, **several}, lightgbm.Dataset(ROWS, TRUTHS[outputs]), 3)
    booster.save_model(tmp_path / "m.txt")
    assert read_lightgbm(tmp_path / "m.txt") == Forest(12, outputs)


def test_what_the_backend_is_told() -> None:
    assert Forest(12, 1).parameters["predict_proba"] == "false"
    assert Forest(12, 3).parameters["predict_proba"] == "true"
    assert Forest(12, 3).signature.takes_batches
