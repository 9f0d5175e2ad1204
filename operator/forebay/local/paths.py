"""Where local mode keeps its files."""

import os
import re
from pathlib import Path


def cache_dir() -> Path:
    """What can be had again: Triton's environment, downloaded models. $FOREBAY_CACHE, else ~/.cache/forebay."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay"
    return Path(os.environ.get("FOREBAY_CACHE") or default)


def state_dir() -> Path:
    """What is being served: logs, configs, addresses. $FOREBAY_STATE, else ~/.local/state/forebay."""
    default = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "forebay"
    return Path(os.environ.get("FOREBAY_STATE") or default)


def file_name(text: str) -> str:
    """A name that is safe as one path component."""
    return re.sub(r"[^A-Za-z0-9._-]+", ".", text).strip(".") or "_"
