"""Log lines: JSON for machines, text for people."""

import logging

from pythonjsonlogger.json import JsonFormatter

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


def set_up_logs(*, form: str, level: str) -> None:
    """Write log lines to stderr, and less of what libraries say."""
    handler = logging.StreamHandler()
    plain = logging.Formatter(_FIELDS)
    handler.setFormatter(JsonFormatter(_FIELDS) if form == "json" else plain)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in ("kopf", "aiohttp", "kubernetes", "asyncio"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))
