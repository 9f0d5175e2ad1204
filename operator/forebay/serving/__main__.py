"""`python -m forebay.serving`: exits with 2 where the script is at fault, with 3 where its load is."""

import asyncio
import logging
import os
import sys

import uvloop

from forebay.serving.import_path import add_environment
from forebay.serving.options import parse_options
from forebay.serving.script import load_script
from forebay.serving.server import EXIT_SCRIPT, serve
from forebay.serving.source import ScriptError


def main() -> int:
    """Run the server; returns the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what a script prints is seen at once
    options = parse_options(sys.argv[1:])
    try:
        if options.environment:
            add_environment(options.environment)
        script = load_script(options.script, options.role)
    except ScriptError as error:
        print(error, file=sys.stderr)
        return EXIT_SCRIPT
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(script, options))


if __name__ == "__main__":
    status = main()
    # Not sys.exit: it would wait for threads in which a script's code may never return.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
