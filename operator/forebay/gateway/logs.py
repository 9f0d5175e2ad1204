"""Log lines, for people or for machines. No line ever holds an object or a config: either may hold a secret."""

import json
import logging
from datetime import UTC, datetime

from forebay.gateway.settings import PilotSettings


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(settings: PilotSettings) -> None:
    """Write to stderr as the settings say."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # Each request to the apiserver, with its URL, is no news.
    for noisy in ("aiohttp.access", "kubernetes", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
