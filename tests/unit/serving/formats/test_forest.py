"""What is read of the files that the real XGBoost and LightGBM write."""

import contextlib
import random
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import xgboost

from forebay.serving.formats.forest import Forest, read_lightgbm, read_xgboost
from forebay.serving.storage.errors import StorageError

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


def test_many_classes_have_many_base_scores(tmp_path: Path) -> None:
    classes = np.arange(2000) % 1000
    rows = np.repeat(classes.reshape(-1, 1), 2, axis=1).astype(np.float32)
    booster = xgboost.train(
        {"objective": "multi:softprob", "num_class": 1000, "max_depth": 1}, xgboost.DMatrix(rows, classes), 1
    )
    booster.save_model(tmp_path / "m.ubj")
    assert read_xgboost(tmp_path / "m.ubj")[0] == Forest(2, 1000)


def test_damage_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, TRUTHS[1]), 1)
    booster.save_model(tmp_path / "m.ubj")
    lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(ROWS, TRUTHS[1]), 1).save_model(
        tmp_path / "m.txt"
    )
    dice = random.Random(7)
    for name, read in (("m.ubj", read_xgboost), ("m.txt", read_lightgbm)):
        good, bad = (tmp_path / name).read_bytes(), tmp_path / "bad"
        for _ in range(300):
            content = bytearray(good)
            content[dice.randrange(min(200, len(good)))] = dice.randrange(256)
            bad.write_bytes(content[: dice.randrange(len(good))] if dice.random() < 0.5 else content)
            with contextlib.suppress(StorageError):
                read(bad)


def test_windows_line_ends(tmp_path: Path) -> None:
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(ROWS, TRUTHS[1]), 1)
    (tmp_path / "m.txt").write_bytes(booster.model_to_string().replace("\n", "\r\n").encode())
    assert read_lightgbm(tmp_path / "m.txt") == Forest(12, 1)


def test_what_the_backend_is_told() -> None:
    assert Forest(12, 1).parameters["predict_proba"] == "false"
    assert Forest(12, 3).parameters["predict_proba"] == "true"
    assert Forest(12, 3).signature.takes_batches
