"""What is said of files that aren't what `model.format` says, and of a config that Triton wouldn't read."""

from forebay.serving.storage.errors import Reason, StorageError


def bad_format(message: str) -> StorageError:
    """The file isn't of the format that was named, or is damaged."""
    return StorageError(Reason.BAD_FORMAT, message)


def bad_config(message: str) -> StorageError:
    """`model.config` can't be merged, or lacks what only its author knows."""
    return StorageError(Reason.BAD_CONFIG, message)
