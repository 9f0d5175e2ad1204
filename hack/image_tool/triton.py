"""Triton as the test cluster has it: the wheel's, with onnxruntime behind its Python backend."""

import sys
from pathlib import Path

from forebay.build.tree import Tree, place
from forebay.local.triton.environment import TritonEnvironment
from image_tool.base import PYTHON, compile_files, find_files
from image_tool.dependencies import build_venv
from image_tool.layers import Layer, hash_text
from image_tool.libraries import find_libraries

HOME = "/opt/tritonserver"
PACKAGES = f"{HOME}/venv/lib/{PYTHON}/site-packages"
# Stubs for each Python: the one that counts is among the backends. And what onnxruntime's tools need, not its sessions.
LEFT_OUT = ("pytriton/tritonserver/python_backend_stubs/", "sympy", "mpmath")
# What local mode passes in its environment and arguments: a pod says `tritonserver ...`, as with NVIDIA's image.
START = f"""\
#!/bin/sh
# The Python backend starts the interpreter that is first on PATH.
export PATH="{HOME}/venv/bin:$PATH" VIRTUAL_ENV={HOME}/venv
export LD_LIBRARY_PATH="{PACKAGES}/nvidia_pytriton.libs${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec {PACKAGES}/pytriton/tritonserver/bin/tritonserver --backend-directory={HOME}/backends "$@"
"""


def build_triton_layer(triton: TritonEnvironment, python: Layer) -> Layer:
    # The name of its folder is the hash of what was installed.
    return Layer("triton", hash_text(triton.backends.parent.name, python.key), lambda: build_triton(triton))


def build_triton(triton: TritonEnvironment) -> Tree:
    packages = Path(triton.env["VIRTUAL_ENV"]) / "lib" / PYTHON / "site-packages"
    stub = triton.backends / "python/triton_python_backend_stub"
    files = {name: path for name, path in find_files(packages).items() if not name.startswith(LEFT_OUT)}
    return {
        # Python's own library comes with Python.
        **find_libraries([triton.binary, stub], given=[packages, Path(sys.base_prefix)], env=triton.env),
        # With bytecode: each model instance is an interpreter of its own, which imports numpy and onnxruntime.
        **place(compile_files(files), PACKAGES),
        **place(find_files(triton.backends), f"{HOME}/backends"),
        **build_venv(f"{HOME}/venv"),
        "/usr/local/bin/tritonserver": START.encode(),
    }
