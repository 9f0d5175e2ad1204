"""`python -m forebay.serving.storage`: the init container, and the same process on a laptop."""

import argparse
import gc
import json
import os
import signal
import sys
from pathlib import Path

from forebay.serving.formats.suffixes import SUFFIXES
from forebay.serving.storage import cached, mounted
from forebay.serving.storage.errors import Reason, StorageError, from_os_error
from forebay.serving.storage.fetch import Fetched, fetch_model, in_place
from forebay.serving.storage.layout import arrange_triton, read_model_names
from forebay.serving.storage.progress import Progress
from forebay.serving.storage.script_file import check_script

TERMINATED = 128 + signal.SIGTERM
# Libraries load what no collection can free: the usual 700 cost a tenth of the start.
_NEW_OBJECTS = 50_000


def main(arguments: list[str] | None = None) -> int:
    """Run the command: JSON lines on stdout, exit status 0 or 1."""
    parser = argparse.ArgumentParser(prog="forebay.serving.storage", description="Fetch a model's files.")
    parser.add_argument(
        "--uri",
        required=True,
        metavar="URI",
        help="s3, gs, az, hf, oci, https, git+https, mlflow-artifacts, pvc, nfs or file: address",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="where the files go, inside a volume")
    parser.add_argument("--layout", choices=["triton", "plain"], default="plain", help="what the server needs")
    parser.add_argument("--name", help="the model's name, when its config.pbtxt gives none")
    parser.add_argument("--allow-loopback", action="store_true", help="https: may lead to this machine: not in a pod")
    parser.add_argument("--mounted-at", type=Path, metavar="DIR", help="where the volume of a pvc or nfs address is")
    parser.add_argument("--cached-at", type=Path, metavar="DIR", help="where the node's cache brings the files")
    parser.add_argument("--digest", default="", help="sha256:HEX of the content, as a ModelVersion has it: else refuse")
    parser.add_argument("--format", choices=list(SUFFIXES), help="what it is, where it is no Triton repository")
    parser.add_argument("--config", default="", help="part of a config.pbtxt, over what is generated for --format")
    parser.add_argument("--repository", type=Path, metavar="DIR", help="where the Triton repository goes: beside --to")
    parser.add_argument("--script", metavar="PATH", help="the .py file that must be among the files")
    options = parser.parse_args(arguments)
    if (options.format or options.config) and options.layout != "triton":
        parser.error("--format and --config go with --layout triton")
    gc.set_threshold(_NEW_OBJECTS)
    # As process 1 of a container there is no default action. Any moment is good to die at: the journal is on disk.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))
    try:
        fetched = _bring(options)
        if options.script:
            check_script(fetched.path, options.script, options.uri)
        path = _arrange(fetched.path, options) if options.layout == "triton" else fetched.path
    except StorageError as error:
        _say(event="error", reason=str(error.reason.value), message=error.message)
        return 1
    except OSError as error:
        told = from_os_error(error, options.to)
        _say(event="error", reason=str(told.reason.value), message=told.message)
        return 1
    _say(event="done", path=str(path), bytes=fetched.bytes, cached=fetched.cached)
    return 0


def _bring(options: argparse.Namespace) -> Fetched:
    if options.mounted_at is not None:
        return in_place(options.uri, mounted.find(options.uri, options.mounted_at), options.digest)
    if options.cached_at is not None:
        return cached.wait(options.cached_at, _report)
    return fetch_model(options.uri, options.to, _report, allow_loopback=options.allow_loopback, digest=options.digest)


def _arrange(source: Path, options: argparse.Namespace) -> Path:
    """Make a Triton repository of what was fetched, and show the config that was written for it."""
    from forebay.serving.formats.mlmodel import is_mlmodel  # noqa: PLC0415  (YAML and protobuf take a moment)

    repository: Path = options.repository or repository_beside(options.to)
    if not options.format and not is_mlmodel(source):
        if options.config:
            raise StorageError(
                Reason.BAD_CONFIG, "model.config goes with model.format, or with what MLflow saved: leave one out"
            )
        arranged = arrange_triton(source, repository, name=options.name)
        from forebay.serving.formats.repository import check_models  # noqa: PLC0415  (protobuf takes a moment)

        check_models(arranged, read_model_names(arranged))
        return arranged
    from forebay.serving.formats.models import arrange_model  # noqa: PLC0415

    repository = repository.absolute()
    text = arrange_model(
        source, repository, format_=options.format or "", name=options.name or "", config=options.config
    )
    _say(event="config", path=str(repository / options.name / "config.pbtxt"), text=text)
    return repository


def repository_beside(folder: Path) -> Path:
    """Where the Triton repository for a download folder is: known before the download, for the server's arguments."""
    absolute = folder.absolute()
    return absolute.with_name(absolute.name + ".repository")


def _report(progress: Progress) -> None:
    _say(
        event="progress",
        bytes=progress.bytes_done,
        total=progress.bytes_total,
        files=progress.files_done,
        files_total=progress.files_total,
    )


def _say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
