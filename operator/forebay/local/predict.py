"""`forebay predict`: send a file to what `forebay serve` runs."""

import io
import json
import mimetypes
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tritonclient.http
from rich.console import Console
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from forebay.local.errors import LocalError
from forebay.local.run_folder import Record, find_record

_TIMEOUT_S = 300.0
_LONGEST_TEXT = 2000


def predict(name: str, file: Path, *, console: Console) -> bool:
    """Send one file and print the answer; False when it was refused. Raises LocalError when nothing could be sent."""
    record = find_record(name)
    if not file.is_file():
        raise LocalError(f"{file} is not a file")
    content = file.read_bytes()
    try:
        if file.suffix in (".npy", ".npz"):
            return _predict_arrays(record, file.name, content, console)
        return _predict_file(record, file.name, content, console)
    except (httpx.TransportError, OSError) as error:
        raise LocalError(f"{record.name} does not answer at {record.url}: {error}") from error


def _predict_file(record: Record, name: str, content: bytes, console: Console) -> bool:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    path = "/predict"
    if record.entry == "predictor" and kind == "application/json" and _holds_tensors(content):
        path = f"/v2/models/{record.model}/infer"
    answer = httpx.post(
        record.url + path, content=content, headers={"content-type": kind}, timeout=_TIMEOUT_S, trust_env=False
    )
    if answer.status_code == 404 and answer.headers.get("x-forebay-reason") == "path-not-served":
        raise LocalError(
            f"{record.name} takes tensors, not a {kind} file: it has no transformer. Send a .json file in the form of "
            "the Open Inference Protocol, or .npy/.npz"
        )
    _show(console, name, _describe(answer), ok=answer.is_success)
    return answer.is_success


def _holds_tensors(content: bytes) -> bool:
    """Whether a body is, or was to be, the Open Inference Protocol's: a script takes rows of JSON at /predict too."""
    try:
        body = json.loads(content)
    except ValueError:  # the server says where it breaks off
        return True
    inputs = body.get("inputs") if isinstance(body, dict) else None
    return isinstance(inputs, list) and all(
        isinstance(each, dict) and {"shape", "datatype"} & each.keys() for each in inputs
    )


def _describe(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:_LONGEST_TEXT]
    if answer.is_success:
        return json.dumps(body)
    return f"{answer.status_code}: {body.get('error', body) if isinstance(body, dict) else body}"


def _predict_arrays(record: Record, name: str, content: bytes, console: Console) -> bool:
    loaded = _load_arrays(name, content)
    client = tritonclient.http.InferenceServerClient(record.url.removeprefix("http://"), network_timeout=_TIMEOUT_S)
    try:
        declared = [each["name"] for each in client.get_model_metadata(record.model).get("inputs", [])]
        arrays = {declared[0] if declared else "input": loaded} if isinstance(loaded, np.ndarray) else loaded
        inputs = []
        for key, given in arrays.items():
            array = np.char.encode(given, "utf-8") if given.dtype.kind == "U" else given
            if np_to_triton_dtype(array.dtype) is None:
                raise LocalError(f"{name} holds {array.dtype}, which no model takes: save numbers or text")
            each = tritonclient.http.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype))
            each.set_data_from_numpy(array)
            inputs.append(each)
        result = client.infer(record.model, inputs)
    except InferenceServerException as error:
        _show(console, name, f"{error.status()}: {error.message()}", ok=False)
        return False
    outputs = {each["name"]: result.as_numpy(each["name"]).tolist() for each in result.get_response()["outputs"]}
    _show(console, name, json.dumps(outputs, default=_decode), ok=True)
    return True


def _decode(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _load_arrays(name: str, content: bytes) -> Any:
    try:
        loaded: Any = np.load(io.BytesIO(content), allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if "allow_pickle" not in str(error):
            raise LocalError(f"{name} is broken: write it with np.save or np.savez") from error
        raise LocalError(
            f"{name} is no NumPy file of plain numbers or text: write it with np.save or np.savez, and no objects in it"
        ) from error


def _show(console: Console, name: str, text: str, *, ok: bool) -> None:
    console.print(f"{name}: {text}", style=None if ok else "red", markup=False, highlight=False, soft_wrap=True)
