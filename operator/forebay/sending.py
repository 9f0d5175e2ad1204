"""Send a file to a ModelDeployment, and show the answer: what `forebay predict` does once it knows where."""

import io
import json
import mimetypes
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tritonclient.http
from rich.console import Console
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from forebay.errors import UserError

_TIMEOUT_S = 300.0
_LONGEST_TEXT = 2000


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Who gets it. `url` is the base of its paths; `entry` the component that answers, `model` its name there.

    `advice` is by HTTP status: what to do beside what the answer says.
    """

    name: str
    url: str
    model: str
    entry: str
    headers: Mapping[str, str] = field(default_factory=dict)
    advice: Mapping[int, str] = field(default_factory=dict)


def send(to: Receiver, file: Path, *, console: Console) -> bool:
    """Send one file and print the answer; False when it was refused. Raises UserError when nothing could be sent."""
    if not file.is_file():
        raise UserError(f"{file} is not a file")
    content = file.read_bytes()
    try:
        if file.suffix in (".npy", ".npz"):
            return _send_arrays(to, file.name, content, console)
        return _send_file(to, file.name, content, console)
    except (httpx.TransportError, OSError) as error:
        raise UserError(f"{to.name} does not answer at {to.url}: {error}") from error


def _send_file(to: Receiver, name: str, content: bytes, console: Console) -> bool:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    path = "/predict"
    if to.entry == "predictor" and kind == "application/json" and _holds_tensors(content):
        path = f"/v2/models/{to.model}/infer"
    headers = {**to.headers, "content-type": kind}
    answer = httpx.post(to.url + path, content=content, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
    if answer.status_code == 404 and answer.headers.get("x-forebay-reason") == "path-not-served":
        raise UserError(
            f"{to.name} takes tensors, not a {kind} file: it has no transformer. Send a .json file in the form of "
            "the Open Inference Protocol, or .npy/.npz"
        )
    _show(console, name, _describe(answer, to.advice), ok=answer.is_success)
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


def _describe(answer: httpx.Response, advice: Mapping[int, str]) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:_LONGEST_TEXT]
    if answer.is_success:
        return json.dumps(body)
    said = body.get("error", body) if isinstance(body, dict) else body
    return "; ".join([f"{answer.status_code}: {said}", *filter(None, [advice.get(answer.status_code)])])


def _send_arrays(to: Receiver, name: str, content: bytes, console: Console) -> bool:
    loaded = load_arrays(name, content)
    client = tritonclient.http.InferenceServerClient(to.url.removeprefix("http://"), network_timeout=_TIMEOUT_S)
    headers = dict(to.headers)
    try:
        declared = [each["name"] for each in client.get_model_metadata(to.model, headers=headers).get("inputs", [])]
        arrays = {declared[0] if declared else "input": loaded} if isinstance(loaded, np.ndarray) else loaded
        inputs = []
        for key, given in arrays.items():
            array = np.char.encode(given, "utf-8") if given.dtype.kind == "U" else given
            if np_to_triton_dtype(array.dtype) is None:
                raise UserError(f"{name} holds {array.dtype}, which no model takes: save numbers or text")
            each = tritonclient.http.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype))
            each.set_data_from_numpy(array)
            inputs.append(each)
        result = client.infer(to.model, inputs, headers=headers)
    except InferenceServerException as error:
        advice = [text for status, text in to.advice.items() if error.status() == str(status)]
        _show(console, name, "; ".join([f"{error.status()}: {error.message()}", *advice]), ok=False)
        return False
    outputs = {each["name"]: result.as_numpy(each["name"]).tolist() for each in result.get_response()["outputs"]}
    _show(console, name, json.dumps(outputs, default=_decode), ok=True)
    return True


def _decode(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def load_arrays(name: str, content: bytes) -> Any:
    """The array of an .npy file, or the dict of an .npz file. UserError where it can't be read."""
    try:
        loaded: Any = np.load(io.BytesIO(content), allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if "allow_pickle" not in str(error):
            raise UserError(f"{name} is broken: write it with np.save or np.savez") from error
        raise UserError(
            f"{name} is no NumPy file of plain numbers or text: write it with np.save or np.savez, and no objects in it"
        ) from error


def _show(console: Console, name: str, text: str, *, ok: bool) -> None:
    console.print(f"{name}: {text}", style=None if ok else "red", markup=False, highlight=False, soft_wrap=True)
