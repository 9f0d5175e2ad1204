"""One model that is a file or a folder, as Triton wants it."""

from pathlib import Path

from forebay.serving.formats.arrange import Layout, write_repository
from forebay.serving.formats.config import Config
from forebay.serving.formats.errors import bad_format
from forebay.serving.formats.folders import find_file, list_names
from forebay.serving.formats.layouts import LAYOUTS
from forebay.serving.formats.mlmodel import find_saved, is_mlmodel
from forebay.serving.formats.recognize import Found, recognize
from forebay.serving.formats.suffixes import SUFFIXES
from forebay.serving.storage.errors import Reason, StorageError


def arrange_model(source: Path, repository: Path, *, format_: str, name: str, config: str = "") -> str:
    """Make `repository` a Triton repository of the one model in `source`, and answer the text of its config.pbtxt.

    Without a format `source` is what MLflow saved, and says it itself. What is in it stays as it is.
    Raises StorageError (BadFormat, BadConfig) with the fix; OSError.
    """
    if not name or "/" in name or name.startswith("."):
        raise StorageError(Reason.BAD_LAYOUT, "the model has no usable name: give --name")
    if is_mlmodel(source) and (saved := find_saved(source, format_)):
        source, format_ = saved
    made = Config(name, config)
    links = _lay_out(source, format_, made)
    text = made.build()
    write_repository(repository, name, Layout(text, links))
    return text


def _lay_out(source: Path, format_: str, config: Config) -> dict[str, Path]:
    if source.is_dir():
        _refuse_other(source, recognize(source), format_)
    if format_ == "savedmodel":
        model = _find_saved_model(source)
    else:
        model = find_file(source, SUFFIXES[format_])
        _refuse_other(model, recognize(model), format_)
    return LAYOUTS[format_](model, config)


def _refuse_other(path: Path, found: Found | None, format_: str) -> None:
    """Raise BadFormat where something is known to be of another format than the one that was named."""
    if found is None or found.format == format_:
        return
    advice = f"write format: {found.format}" if found.format else found.advice
    # A download's folder has a name of Forebay's own.
    thing = "the folder" if path.is_dir() else path.name
    raise bad_format(f"format is {format_}, but {thing} is {found.what}: {advice}")


def _find_saved_model(source: Path) -> Path:
    """The folder with saved_model.pb: the source itself, or the one folder in it."""
    if source.is_file():
        raise bad_format(f"{source.name} is a file, and a SavedModel is a folder: let the uri name the folder")
    if recognize(source):
        return source
    below = [source / name for name in list_names(source) if (source / name).is_dir()]
    if len(below) == 1 and (found := recognize(below[0])) and found.format == "savedmodel":
        return below[0]
    for name in list_names(source):
        if (source / name).is_file() and (found := recognize(source / name)):
            _refuse_other(source / name, found, "savedmodel")
    raise bad_format("there is no saved_model.pb in the folder: let the uri name the folder that holds it")
