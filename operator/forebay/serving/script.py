"""A user's script, run: its class, made into methods that can be called alike."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from forebay.serving.source import (
    ARGUMENTS,
    METHODS,
    MODULE_NAME,
    PIP_NAMES,
    Role,
    ScriptError,
    describe_choice,
    describe_missing,
    expected_signature,
    parse_source,
)
from forebay.serving.tensors import Tensor


@dataclass(frozen=True)
class Method:
    """One method of the class: how many arguments it takes, and whether it is async or streams."""

    name: str
    takes_extra: bool
    is_async: bool
    is_stream: bool


@dataclass(frozen=True)
class Script:
    """A script's class, and what it declares."""

    path: Path
    role: Role
    cls: type[Any]
    methods: dict[str, Method]
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    example: Any = field(default=None, compare=False)
    model_inputs: tuple[Tensor, ...] = ()
    """Of a transformer: what it sends to its model."""
    model_outputs: tuple[Tensor, ...] = ()
    """Of a transformer: what it reads of its model's answers."""

    @property
    def streams(self) -> bool:
        """Whether predict yields several answers."""
        return any(method.is_stream for method in self.methods.values())


def load_script(path: Path, role: Role) -> Script:
    """Import a script and find its class. ScriptError says what to change, in one message."""
    parse_source(path)
    module = _import(path)
    cls = _choose(path, module, role)
    names = [name for name in ARGUMENTS if callable(getattr(cls, name, None))]
    methods = {name: _inspect(path, cls, name) for name in names}
    declared = {kind: _declared(path, cls, kind) for kind in ("inputs", "outputs", "model_inputs", "model_outputs")}
    return Script(path, role, cls, methods, **declared, example=getattr(cls, "example", None))


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise ScriptError(f"{path} is not a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module  # so that pickle and dataclasses find it
    sys.path.insert(0, str(path.resolve().parent))  # so that it can import what lies beside it
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        raise ScriptError(f"{path}: {describe_missing({top: PIP_NAMES.get(top, top)})}") from error
    except (Exception, SystemExit) as error:
        where = _line_of(path, error)
        raise ScriptError(f"{path}{where}: importing the script failed: {type(error).__name__}: {error}") from error
    return module


def _line_of(path: Path, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def _choose(path: Path, module: ModuleType, role: Role) -> type[Any]:
    own = [item for item in vars(module).values() if inspect.isclass(item) and item.__module__ == MODULE_NAME]
    named = [cls for cls in dict.fromkeys(own) if not cls.__name__.startswith("_")]
    fitting = [cls for cls in named if any(callable(getattr(cls, name, None)) for name in METHODS[role])]
    found = [cls for cls in fitting if not any(other is not cls and issubclass(other, cls) for other in fitting)]
    if len(found) != 1:
        names = [cls.__name__ for cls in found], [cls.__name__ for cls in named]
        raise ScriptError(describe_choice(path, role, *names))
    return found[0]


def _inspect(path: Path, cls: type[Any], name: str) -> Method:
    function = cast("Callable[..., Any]", inspect.getattr_static(cls, name))
    is_bound = isinstance(function, staticmethod)
    function = inspect.unwrap(getattr(function, "__func__", function))
    wanted = (0 if name == "load" else 1) + (0 if is_bound else 1)
    signature = inspect.signature(function)
    for extra in (1, 0):
        try:
            signature.bind(*[None] * (wanted + extra))
        except TypeError:
            continue
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        is_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        if is_stream and name != "predict":
            raise ScriptError(f"{path}: {name} must return its result: only predict may yield")
        return Method(name, bool(extra), is_async, is_stream)
    raise ScriptError(f"{path}: {cls.__name__}.{expected_signature(name, ARGUMENTS[name])}, not {signature}")


def _declared(path: Path, cls: type[Any], kind: str) -> tuple[Tensor, ...]:
    tensors = getattr(cls, kind, ())
    if not isinstance(tensors, list | tuple) or not all(isinstance(item, Tensor) for item in tensors):
        raise ScriptError(
            f'{path}: {cls.__name__}.{kind} must be a list such as [Tensor("image", "FP32", [-1, 64])], not {tensors!r}'
        )
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise ScriptError(f"{path}: {cls.__name__}.{kind} names a tensor twice: {', '.join(names)}")
    return tuple(tensors)
