"""A script's object at work: loaded once, its methods called without ever blocking the event loop."""

import asyncio
import contextvars
import functools
import time
from collections.abc import AsyncIterator, Callable
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
        generator = self._object.predict(*arguments)
        try:
            if method.is_async:
                async for item in generator:
                    yield item
                return
            while (item := await self._in_thread(next, generator, _END)) is not _END:
                yield item
        finally:
            await self._close(generator, is_async=method.is_async)

    async def _close(self, generator: Any, *, is_async: bool) -> None:
        if is_async:
            await generator.aclose()
        else:  # a thread may still be inside it: then it ends with that step
            self._threads.submit(_close_quietly, generator)

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


def _close_quietly(generator: Any) -> None:
    try:
        generator.close()
    except ValueError:  # it is running in another thread, to which its end belongs
        return
