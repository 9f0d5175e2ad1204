"""Kubernetes' Python client without what nothing here uses: all of it takes a second of CPU to import, and 20 MB."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec


def skip_package_imports() -> None:
    """Let modules of `kubernetes.aio` be imported without the client for threads, which its packages import first."""
    for name in ("kubernetes", "kubernetes.aio"):
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            sys.modules[name] = module_from_spec(spec)


@contextmanager
def hide_models() -> Iterator[None]:
    """For what takes objects of that client, too, where there is one: here nobody makes any."""
    name = "kubernetes.client"
    known = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment]  # as Python says that it can't be imported
    try:
        yield
    finally:
        del sys.modules[name]
        if known is not None:
            sys.modules[name] = known
