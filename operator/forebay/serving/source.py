"""A script read, not run: its syntax, the libraries it lacks, its class and the signatures of its methods."""

import ast
import importlib.machinery
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["predictor", "transformer"]

# The name that a script is imported under.
MODULE_NAME = "forebay_script"

METHODS: dict[Role, tuple[str, ...]] = {"predictor": ("predict",), "transformer": ("preprocess", "postprocess")}
ARGUMENTS = {"predict": "inputs", "preprocess": "payload", "postprocess": "outputs", "load": "context"}
# What is imported under one name and installed under another.
PIP_NAMES = {
    "cv2": "opencv-python-headless", "PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml",
    "skimage": "scikit-image", "bs4": "beautifulsoup4", "dateutil": "python-dateutil", "dotenv": "python-dotenv",
    "fitz": "pymupdf", "jose": "python-jose", "jwt": "pyjwt", "magic": "python-magic", "OpenSSL": "pyopenssl",
    "Crypto": "pycryptodome", "serial": "pyserial", "faiss": "faiss-cpu", "pkg_resources": "setuptools",
    "attr": "attrs", "osgeo": "gdal", "sentence_transformers": "sentence-transformers",
    "rapidocr_onnxruntime": "rapidocr-onnxruntime", "llama_cpp": "llama-cpp-python",
}  # fmt: skip


class ScriptError(Exception):
    """The script cannot be served as it is; the message says where, and what to write instead."""


@dataclass(frozen=True)
class Source:
    """A script that parses."""

    path: Path
    tree: ast.Module


def parse_source(path: Path) -> Source:
    """Read a script; ScriptError with the file, line and a caret where it cannot be parsed."""
    try:
        return Source(path, ast.parse(path.read_bytes(), filename=str(path)))
    except OSError as error:
        raise ScriptError(f"{path} cannot be read: {error.strerror or error}. Check the path") from error
    except (SyntaxError, ValueError) as error:
        raise ScriptError(describe_syntax_error(path, error)) from error


def describe_syntax_error(path: Path, error: SyntaxError | ValueError) -> str:
    """The error as FILE:LINE: message, with the line and a caret under the place."""
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return f"{path} is no Python source: {error}"
    text = (error.text or "").rstrip("\n")
    caret = " " * max((error.offset or 1) - 1, 0) + "^"
    shown = f"\n    {text}\n    {caret}" if text else ""
    return f"{error.filename or path}:{error.lineno}: {error.msg}{shown}"


def find_missing(source: Source, environment: Path | None = None) -> dict[str, str]:
    """Libraries that the script imports and that are missing here, and in its environment: {module: name to install}.

    Nothing is run. Imports inside `try` and `if TYPE_CHECKING` are taken to be optional. Modules beside the script are
    there.
    """
    imported = sorted(find_imports(source))
    return {top: PIP_NAMES.get(top, top) for top in imported if not _is_there(top, source.path.parent, environment)}


def find_imports(source: Source) -> set[str]:
    """The modules that a script imports, each by its first name, less those that may be missing."""
    optional = {inner for node in ast.walk(source.tree) if _may_fail(node) for inner in ast.walk(node)}
    needed = (node for node in ast.walk(source.tree) if node not in optional)
    return {module.partition(".")[0] for node in needed for module in _imported(node)}


def _may_fail(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.Try)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return [node.module]
    return []


def _is_there(module: str, folder: Path, environment: Path | None) -> bool:
    if environment and importlib.machinery.PathFinder.find_spec(module, [str(environment)]):
        return True
    if module in sys.builtin_module_names or (folder / f"{module}.py").exists() or (folder / module).is_dir():
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def describe_missing(missing: dict[str, str]) -> str:
    """What to write, and the command for this machine's very environment: a bare `pip` may be another's."""
    noun = "library" if len(missing) == 1 else "libraries"
    uv = Path(sys.executable).with_name("uv")  # whose environments have no pip
    install = f"{uv} pip install --python {sys.executable}" if uv.exists() else f"{sys.executable} -m pip install"
    names = sorted(set(missing.values()))
    return (
        f"missing {noun} {', '.join(sorted(missing))}: write custom: {{requirements: [{', '.join(names)}]}} into the "
        f"manifest, or for this machine alone: {install} {' '.join(names)}"
    )


def find_class(source: Source, role: Role) -> ast.ClassDef:
    """The script's one class of that role; ScriptError where there is none, or more than one."""
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef)]
    bases = {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}
    by_name = {node.name: node for node in classes}
    found = [
        node
        for node in classes
        if not node.name.startswith("_")
        and node.name not in bases
        and _methods(node, by_name).keys() & set(METHODS[role])
    ]
    if len(found) == 1:
        return found[0]
    raise ScriptError(
        describe_choice(source.path, role, [node.name for node in found], [node.name for node in classes])
    )


def describe_choice(path: Path, role: Role, found: list[str], classes: list[str]) -> str:
    """Why no class could be chosen, and what to write."""
    wanted = " or ".join(METHODS[role])
    if found:
        names = ", ".join(found)
        return f"{path} has {len(found)} classes with {wanted}: {names}. Keep one, or start the others' names with _"
    there = f"its classes are {', '.join(classes)}" if classes else "it has no class"
    return f"{path} has no class with {wanted}, which a {role} needs: {there}. Write `class My{role.title()}:` with it"


def _methods(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    methods = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes and base.id != node.name:
            methods.update(_methods(classes[base.id], {k: v for k, v in classes.items() if k != node.name}))
    methods.update({item.name: item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)})
    return methods


def guess_role(source: Source) -> Role:
    """Transformer where a class has preprocess or postprocess and none has predict, otherwise predictor."""
    names = {
        item.name
        for node in source.tree.body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return "transformer" if names & set(METHODS["transformer"]) and "predict" not in names else "predictor"


def check_signatures(source: Source, node: ast.ClassDef) -> list[str]:
    """What is wrong with the signatures of the class's methods: one sentence each."""
    methods = _methods(node, {item.name: item for item in source.tree.body if isinstance(item, ast.ClassDef)})
    wrong = []
    for name, argument in ARGUMENTS.items():
        method = methods.get(name)
        if method is None or method.args.vararg or any(_is_static(item) for item in method.decorator_list):
            continue
        positional = len(method.args.posonlyargs) + len(method.args.args)
        required = positional - len(method.args.defaults)
        fewest, most = (1, 2) if name == "load" else (2, 3)
        keyword_only = sum(default is None for default in method.args.kw_defaults)
        if positional < fewest or required > most or keyword_only:
            wrong.append(f"{source.path}:{method.lineno}: {expected_signature(name, argument)}")
    return wrong


def _is_static(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod")


def expected_signature(name: str, argument: str) -> str:
    """How a method may be written."""
    if name == "load":
        return "load takes (self) or (self, context)"
    return f"{name} takes (self, {argument}) or (self, {argument}, request)"
