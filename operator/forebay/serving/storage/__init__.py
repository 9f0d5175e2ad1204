"""The storage initializer: brings a model's files to a folder, in an init container as on a laptop."""

from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.fetch import Fetched, fetch, fetch_model
from forebay.serving.storage.layout import arrange_triton, read_model_names
from forebay.serving.storage.progress import OnProgress, Progress

__all__ = [
    "Fetched",
    "OnProgress",
    "Progress",
    "Reason",
    "StorageError",
    "arrange_triton",
    "fetch",
    "fetch_model",
    "read_model_names",
]
