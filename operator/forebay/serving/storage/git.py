"""git+https://HOST/REPOSITORY[@REF]: the files of one commit, without its history, and without a git program."""

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dulwich.client import HttpGitClient, HTTPProxyUnauthorized, HTTPUnauthorized, default_urllib3_manager
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
from dulwich.object_store import iter_tree_contents, peel_sha
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from forebay.serving.storage.addresses import Guard
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.git_connections import build_pool_manager
from forebay.serving.storage.git_errors import describe_missing_ref, from_git_error
from forebay.serving.storage.paths import check_paths
from forebay.serving.storage.place import MANIFEST, Place
from forebay.serving.storage.source import Item, Listing

SCHEME = "git+https://"
_TIMEOUT_S = 30.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


class GitAddress(NamedTuple):
    """A repository's https address, and what is wanted of it: a branch, a tag, a commit; empty is its HEAD."""

    url: str
    ref: str


def parse_git_address(uri: str) -> GitAddress:
    """Split an address as pip writes it: the ref stands behind the last @ of the path."""
    url = uri.removeprefix("git+")
    host, _, path = url.removeprefix("https://").partition("/")
    path, _, ref = path.partition("@")
    if not host or not path or "@" in host:
        raise StorageError(
            Reason.UNSUPPORTED_URI,
            f"{SCHEME}{host.rpartition('@')[2]}/{path} names no repository: write {SCHEME}HOST/REPOSITORY.git@REF, and "
            "put user and password into GIT_USERNAME and GIT_PASSWORD",
        )
    return GitAddress(f"https://{host}/{path}", ref)


def fetch_git(uri: str, place: Place, *, allow_loopback: bool) -> bool:
    """Bring a commit's files to a place, whose lock is held. True where they were there. StorageError, OSError."""
    address = parse_git_address(uri)
    if _COMMIT.fullmatch(address.ref) and _read_object(place) == (uri, address.ref):
        return True
    shutil.rmtree(place.partial, ignore_errors=True)
    place.partial.mkdir(parents=True)
    with _translated(address), _repository(place.partial / "git") as repository:
        client = _open(address, allow_loopback=allow_loopback)
        refs = client.get_refs(urlsplit(address.url).path).refs
        found = _find_ref({name: sha for name, sha in refs.items() if sha}, address)
        if _read_object(place) == (uri, found.decode()):
            return True

        def choose(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [found]

        client.fetch(urlsplit(address.url).path, repository, choose, depth=1)
        _write_tree(repository, found, place.tree, address)
    place.finish({"uri": uri, "object": found.decode()})
    return False


@contextlib.contextmanager
def _repository(folder: Path) -> Iterator[Repo]:
    repository = Repo.init_bare(str(folder), mkdir=True)
    try:
        yield repository
    finally:
        repository.close()


def _open(address: GitAddress, *, allow_loopback: bool) -> HttpGitClient:
    guard = Guard(f"git+{address.url}", allow_loopback=allow_loopback)
    parts = urlsplit(address.url)
    base = f"https://{parts.netloc}/"
    manager = build_pool_manager(guard, lambda classes: default_urllib3_manager(None, base_url=base, **classes))
    return HttpGitClient(
        base,
        pool_manager=manager,
        username=os.environ.get("GIT_USERNAME") or ("git" if os.environ.get("GIT_PASSWORD") else None),
        password=os.environ.get("GIT_PASSWORD"),
        timeout=_TIMEOUT_S,
        quiet=True,
    )


def _find_ref(refs: Mapping[Ref, ObjectID], address: GitAddress) -> ObjectID:
    ref = address.ref
    if _COMMIT.fullmatch(ref):
        return ObjectID(ref.encode())
    names = [ref, f"refs/tags/{ref}", f"refs/heads/{ref}"] if ref else ["HEAD"]
    for name in names:
        if found := refs.get(Ref(name.encode())):
            return found
    raise StorageError(Reason.NOT_FOUND, describe_missing_ref(address.url, ref, refs))


def _write_tree(repository: Repo, found: ObjectID, tree: Path, address: GitAddress) -> None:
    """Write the files. Links and submodules are left out: they would lead somewhere else."""
    _, commit = peel_sha(repository.object_store, found)
    if not isinstance(commit, Commit):
        raise StorageError(
            Reason.NOT_FOUND, f"{address.ref} of {address.url} is no commit: write a branch, tag or commit"
        )
    entries = [
        each for each in iter_tree_contents(repository.object_store, commit.tree) if stat.S_ISREG(each.mode or 0)
    ]
    paths = {os.fsdecode(each.path or b""): each.sha for each in entries}
    check_paths(Listing(tuple(Item(path, "", None, "") for path in paths)), address.url)
    tree.mkdir()
    for path, sha in paths.items():
        blob = repository.object_store[sha]
        assert isinstance(blob, Blob)  # noqa: S101  (a tree's file)
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(blob.as_raw_string())


def _read_object(place: Place) -> tuple[str, str]:
    """The address and the commit, or annotated tag, that a place holds; empty strings where it holds none."""
    try:
        manifest = json.loads((place.dest / MANIFEST).read_text("utf-8"))
        return str(manifest["uri"]), str(manifest["object"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


@contextlib.contextmanager
def _translated(address: GitAddress) -> Iterator[None]:
    try:
        yield
    except (NotGitRepository, HTTPUnauthorized, HTTPProxyUnauthorized, GitProtocolError, HangupException) as error:
        by_commit = bool(_COMMIT.fullmatch(address.ref))
        has_password = bool(os.environ.get("GIT_PASSWORD"))
        raise from_git_error(error, address.url, by_commit=by_commit, has_password=has_password) from error
