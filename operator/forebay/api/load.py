"""Manifests as their author wrote them, to objects, or to the list of all that is wrong with them."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay.api.diagnosis import Finding, diagnose, find
from forebay.api.document import MAX_BYTES, Node, plain, read_documents
from forebay.api.fields import drop_nothing, show_path
from forebay.api.kinds import KINDS, Loaded, check_type
from forebay.api.model_deployment import ModelDeployment
from forebay.api.problems import InvalidManifest, Problem
from forebay.api.references import find_script_files, resolve_references
from forebay.api.rules import Path as FieldPath
from forebay.api.syntax import YamlError


def load_file(path: Path) -> list[Loaded]:
    """Read the objects of a file, or of standard input (`-`); raise InvalidManifest with all that is wrong."""
    if str(path) == "-":
        return load_text(_decode(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"), file="<stdin>", folder=Path.cwd())
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InvalidManifest([Problem(str(path), None, "", f"no such file{_similar(path)}")]) from None
    except OSError as error:
        raise InvalidManifest([Problem(str(path), None, "", f"cannot be read: {error.strerror}")]) from None
    return load_text(_decode(raw, str(path)), file=str(path), folder=path.absolute().parent)


def load_text(text: str, *, file: str, folder: Path) -> list[Loaded]:
    """Read the objects of a YAML text; what they point to is looked for in `folder`."""
    reading = _Reading(file, folder)
    documents = 0
    try:
        for document in read_documents(text):
            documents += 1
            reading.read_document(document)
    except YamlError as error:
        reading.problems.append(Problem(file, error.line, "", error.message))
    else:
        if not documents:
            reading.problems.append(Problem(file, None, "", "is empty: there is no object in it"))
    if reading.problems:
        raise InvalidManifest(reading.problems)
    return reading.objects


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise InvalidManifest([Problem(file, None, "", f"is larger than {MAX_BYTES // 1024 // 1024} MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvalidManifest([Problem(file, line, "", "is not UTF-8 text")]) from None


def _similar(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    manifests = sorted(each.name for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    near = difflib.get_close_matches(path.name, manifests, n=3)
    return f": did you mean {' or '.join(near)}?" if near else ""


@dataclass(slots=True)
class _Reading:
    """One file being read: what was found in it so far."""

    file: str
    folder: Path
    objects: list[Loaded] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lines: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def read_document(self, node: Node) -> None:
        """Read a document: one object, or the objects of a List."""
        for finding, line in _complaints(node):
            self._report(finding, node, (), line)
        self._read(node, ())

    def _read(self, node: Node, at: FieldPath) -> None:
        if not isinstance(node.value, dict):
            self._report(Finding((), "is not an object: write apiVersion, kind, metadata, spec"), node, at)
            return
        head = plain(node)
        items = node.value.get("items")
        if (head.get("apiVersion"), head.get("kind")) == ("v1", "List") and items and isinstance(items.value, list):
            for index, item in enumerate(items.value):
                self._read(item, (*at, "items", index))
            return
        unknown = check_type(head)
        if unknown is not None:
            self._report(unknown, node, at)
            return
        self._read_object(KINDS[head["kind"]], node, at)

    def _read_object(self, kind: type[Loaded], node: Node, at: FieldPath) -> None:
        data = plain(node)
        if kind.status_model:
            # `kubectl get -o yaml` prints it; the apiserver takes it from the operator alone.
            data.pop("status", None)
        drop_nothing(kind, data)
        script_files = find_script_files(data, self.folder)
        unresolved = list(resolve_references(kind, data, self.folder))
        complaints = [finding for finding, _ in _complaints(node)]
        # Of a field that something was said of already, more would only be an echo.
        said = {finding.path for finding in unresolved + complaints}
        findings = unresolved + [each for each in diagnose(kind, data, node) if each.path not in said]
        for finding in findings:
            self._report(finding, node, at)
        if not findings and not complaints:
            made = kind.model_validate(data, strict=True, by_alias=True, by_name=False)
            if isinstance(made, ModelDeployment):
                _remember_scripts(made, script_files)
            self._keep(made, node, at)

    def _keep(self, made: Loaded, node: Node, at: FieldPath) -> None:
        key = (made.kind, made.metadata.namespace, made.metadata.name)
        if key in self.lines:
            message = f"a {made.kind} of this name stands on line {self.lines[key]} already: names are unique"
            self._report(Finding(("metadata", "name"), message), node, at)
        self.lines.setdefault(key, find(node, ("metadata", "name")).line)
        self.objects.append(made)

    def _report(self, finding: Finding, node: Node, at: FieldPath, line: int | None = None) -> None:
        line = find(node, finding.path).line if line is None else line
        self.problems.append(Problem(self.file, line, show_path(at + finding.path), finding.message))


def _remember_scripts(made: ModelDeployment, files: Mapping[str, str]) -> None:
    for component in (made.spec.predictor, made.spec.transformer):
        if component and component.custom and (path := files.get(type(component).__name__.lower())):
            component.custom.remember_file(path)


def _complaints(node: Node, at: FieldPath = ()) -> Iterator[tuple[Finding, int]]:
    """What the reader found amiss, wherever in the document."""
    for line, name, message in node.complaints:
        yield Finding((*at, name), message), line
    if isinstance(node.value, dict):
        for name, child in node.value.items():
            yield from _complaints(child, (*at, name))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from _complaints(child, (*at, index))
