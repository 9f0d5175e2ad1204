"""`python -m forebay.build`: what the Job of an ImageBuild runs. Its last word is for whoever reads the pod's status.

Exits with 2 where what was given is at fault, so that it is not tried again.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.build.errors import BuildError
from forebay.build.order import Order, fulfil
from forebay.build.publish import OnBytes
from forebay.plan.builds import EXIT_INPUT

# The kubelet keeps no more.
_LONGEST_WORD = 4000


class Log:
    """Lines in a pod's log."""

    def say(self, text: str) -> None:
        """A line."""
        print(text, flush=True)

    @contextmanager
    def follow(self, title: str, total: int) -> Iterator[OnBytes]:
        """A line at the beginning."""
        self.say(f"{title}: {total / 1e6:.0f} MB")
        yield lambda _count: None


def read_order(arguments: list[str]) -> tuple[Order, Path]:
    """What is to be built, and where the last word goes."""
    parser = argparse.ArgumentParser("python -m forebay.build", description="Build the image of a script, and push it.")
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--role", choices=["predictor", "transformer"])
    parser.add_argument("--requirements", type=Path)
    parser.add_argument("--platform", action="append", default=[])
    parser.add_argument("--index", action="append", default=[])
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--result", type=Path, default=Path("/dev/termination-log"))
    given = parser.parse_args(arguments)
    order = Order(
        script=given.script,
        base=given.base,
        target=given.image,
        name=given.name,
        role=given.role,
        requirements=given.requirements,
        platforms=given.platform,
        indexes=given.index,
        insecure=given.insecure,
        in_pod=True,
    )
    return order, given.result


def main(arguments: list[str]) -> int:
    """Build and push; returns the exit status."""
    order, result = read_order(arguments)
    try:
        built = fulfil(order, Log())
    except BuildError as error:
        print(error, file=sys.stderr, flush=True)
        result.write_text(str(error)[-_LONGEST_WORD:], "utf-8")
        return 1 if error.passing else EXIT_INPUT
    print(built.reference)
    result.write_text(json.dumps({"image": built.reference, "digest": built.image.digest}), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
