"""`forebay predict` to what `forebay serve` runs on this machine."""

from pathlib import Path

from rich.console import Console

from forebay.local.run_folder import find_record
from forebay.sending import Receiver, send


def predict(name: str, file: Path, *, api_key: str = "", console: Console) -> bool:
    """Send one file and print the answer; False when it was refused. Raises UserError when nothing could be sent."""
    record = find_record(name)
    headers = {"x-api-key": api_key} if api_key else {}
    to = Receiver(name=record.name, url=record.url, model=record.model, entry=record.entry, headers=headers)
    return send(to, file, console=console)
