"""`python -m forebay.serving.example SCRIPT ROLE [ENVIRONMENT]`: the example of a script, as JSON.

It runs the script, so `forebay check` runs it in a process of its own.
"""

import json
import mimetypes
import sys
from pathlib import Path
from typing import Any

import numpy as np

from forebay.serving.errors import ServingError
from forebay.serving.import_path import add_environment
from forebay.serving.rows import dump_json
from forebay.serving.script import Script, load_script
from forebay.serving.source import ScriptError
from forebay.serving.tensors import Arrays, Tensor, check_outputs, numpy_dtype
from forebay.serving.v2 import InferRequest, encode_response


def describe_example(script: Script) -> dict[str, Any]:
    """The example: {kind: tensors, body: v2 request}, {kind: file, path, content_type}, {kind: json, value} or none.

    Without one, zeros of the declared inputs' shapes are the tensors, with 1 for every -1.
    """
    example = script.example
    if example is None:
        zeros = {tensor.name: _zeros(tensor) for tensor in script.inputs if not tensor.optional}
        return {"kind": "tensors", "made": True, "body": _body(zeros)} if zeros else {"kind": "none"}
    if isinstance(example, dict) and example and all(isinstance(value, np.ndarray) for value in example.values()):
        return {"kind": "tensors", "made": False, "body": _body(check_outputs(example, (), "example"))}
    if isinstance(example, str | Path) and (path := script.path.parent / example).is_file():
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return {"kind": "file", "path": str(path.resolve()), "content_type": content_type}
    if isinstance(example, Path):
        raise ScriptError(f"{script.path}: example is {str(example)!r}, but there is no such file beside the script")
    return {"kind": "json", "value": json.loads(dump_json(example))}


def _zeros(tensor: Tensor) -> np.ndarray[Any, Any]:
    shape = [1 if size == -1 else size for size in tensor.shape]
    return (
        np.full(shape, b"", np.object_) if tensor.datatype == "BYTES" else np.zeros(shape, numpy_dtype(tensor.datatype))
    )


def _body(arrays: Arrays) -> dict[str, Any]:
    pieces, _ = encode_response("", InferRequest(), arrays)
    return {"inputs": json.loads(pieces[0])["outputs"]}


def main(path: str, role: str, environment: str = "") -> int:
    """Print the example, or on stderr why there can be none."""
    try:
        if environment:
            add_environment(Path(environment))
        script = load_script(Path(path), "transformer" if role == "transformer" else "predictor")
        print(json.dumps(describe_example(script)))
    except (ScriptError, ServingError, TypeError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
