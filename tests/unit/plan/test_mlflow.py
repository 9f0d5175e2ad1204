"""Addresses of MLflow's registry, and where it says that files are."""

import pytest

from forebay.plan.mlflow import Reference, read_location, read_reference, write_reference
from forebay.plan.versions import UnusableVersionError


def test_references() -> None:
    assert read_reference("models:/digits/3") == Reference("digits", "3", "")
    assert read_reference("models:/digits@champion") == Reference("digits", "", "champion")
    assert read_reference("models:/ml.eu.my%20digits@a/b") == Reference("ml.eu.my digits", "", "a/b")
    assert write_reference("my digits", version="3") == "models:/my%20digits/3"
    assert write_reference("digits", alias="champion") == "models:/digits@champion"


@pytest.mark.parametrize(
    ("location", "uri"),
    [
        ("s3://models/digits/3/", "s3://models/digits/3"),
        ("gs://models/digits", "gs://models/digits"),
        ("https://models.example.com/digits.onnx", "https://models.example.com/digits.onnx"),
        ("mlflow-artifacts:/1/models/m-1/artifacts", "mlflow-artifacts:/1/models/m-1/artifacts"),
        ("wasbs://models@account.blob.core.windows.net/digits/3", "az://account/models/digits/3"),
        ("abfss://models@account.dfs.core.windows.net/digits/3", "az://account/models/digits/3"),
        ("/srv/my models/digits", "file:/srv/my models/digits"),
        ("file:///srv/my%20models/digits", "file:/srv/my models/digits"),
    ],
)
def test_locations(location: str, uri: str) -> None:
    assert read_location(location, "models:/digits/3", has_files=True) == uri


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("dbfs:/models/digits", "dbfs: is no storage that Forebay reads"),
        ("s3://models", "no storage that Forebay reads"),
        ("pvc://claim/digits", "pvc: is no storage"),
        ("http://10.0.0.1/digits", "http: is no storage"),
        ("file:///srv/digits", "no pod can read it"),
        ("/srv/digits", "no pod can read it"),
        ("file://elsewhere/digits", "no storage that Forebay reads"),
        ("mlflow-artifacts://other:5000/digits", "an artifact server of its own"),
        ("s3://models/a\nb", "an address that can't be one"),
        ("s3://models/" + "a" * 2048, "an address that can't be one"),
    ],
)
def test_locations_that_no_pod_can_read(location: str, words: str) -> None:
    with pytest.raises(UnusableVersionError, match="models:/digits/3") as caught:
        read_location(location, "models:/digits/3", has_files=False)
    assert words in str(caught.value)
