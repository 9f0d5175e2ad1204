"""A script's object at work: loaded once, its methods called without ever blocking the event loop."""

import asyncio
import contextlib
import contextvars
import functools
import time
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from forebay.serving.errors import ModelFault
from forebay.serving.metrics import STAGE_SECONDS
from forebay.serving.request import Context, Request
from forebay.serving.script import Script

_END = object()
# Raised in a task or a thread, these would end the server or hang the caller instead of failing the request.
_FATAL = (SystemExit, KeyboardInterrupt, StopIteration, GeneratorExit)


class Model:
    """The one instance of a script's class, and the threads in which its sync methods run."""

    def __init__(self, script: Script, *, concurrency: int) -> None:
        self.script = script
        self.is_loaded = False
        self._object: Any = None
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="model")

    async def load(self, context: Context) -> None:
        """Make the object and call its load. Whatever that raises goes through."""
        self._object = await self._in_thread(self.script.cls)
        if "load" in self.script.methods:
            await self._call("load", context)
        self.is_loaded = True

    def has(self, name: str) -> bool:
        """Whether the class has a method."""
        return name in self.script.methods

    async def call(self, name: str, value: object, request: Request) -> Any:
        """Call preprocess, predict or postprocess; in a thread where it is not async. Its exceptions go through."""
        started = time.perf_counter()
        try:
            return await self._call(name, value, request)
        finally:
            STAGE_SECONDS.labels(name).observe(time.perf_counter() - started)

    async def _call(self, name: str, *arguments: object) -> Any:
        method = self.script.methods[name]
        function = getattr(self._object, name)
        taken = arguments if method.takes_extra else arguments[:-1]
        if not method.is_async:
            result = await self._in_thread(function, *taken)
            return await result if asyncio.iscoroutine(result) else result
        try:
            return await function(*taken)
        except _FATAL as error:
            raise ModelFault(f"{name} raised {error!r}") from error

    async def stream(self, inputs: object, request: Request) -> AsyncIterator[Any]:
        """What a predict that yields has to say, piece by piece. Closing the iterator closes the generator."""
        method = self.script.methods["predict"]
        arguments = (inputs, request) if method.takes_extra else (inputs,)
        if method.is_async:
            async with contextlib.aclosing(self._object.predict(*arguments)) as generator:
                async for item in generator:
                    yield item
            return
        steps = _Steps(self._object.predict(*arguments))
        try:
            while (item := await self._in_thread(steps.next)) is not _END:
                yield item
        finally:
            self._threads.submit(steps.close)

    async def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        run = functools.partial(contextvars.copy_context().run, _guarded, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Let go of the threads; those at work are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _guarded(function: Callable[..., Any], *arguments: object) -> Any:
    try:
        return function(*arguments)
    except _FATAL as error:
        raise ModelFault(f"{getattr(function, '__name__', function)} raised {error!r}") from error


class _Steps:
    """A generator whose steps run in threads, and that can be closed while one does: it is closed after that step."""

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self._generator = generator
        self._is_closed = False

    def next(self) -> Any:
        """The next item, or _END."""
        item = next(self._generator, _END)
        if self._is_closed:
            self._generator.close()
        return item

    def close(self) -> None:
        """Run the generator's `finally`."""
        self._is_closed = True
        with contextlib.suppress(ValueError):  # a step is running: it closes the generator itself
            self._generator.close()
