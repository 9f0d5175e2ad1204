"""What is written where nobody looks at a terminal: whole lines, now and then."""

import io
import time

from rich.console import Console

from forebay.local import display as module
from forebay.local.display import Display


def lines(width: int = 80) -> tuple[Display, io.StringIO]:
    output = io.StringIO()
    return Display(Console(file=output, width=width)), output


def test_a_line_is_never_broken():
    display, output = lines(width=20)
    display.say("/a/long/path/" + "x" * 100 + " and words, and words, and words")
    display.warn("w" * 100)
    assert len(output.getvalue().splitlines()) == 2


def test_markup_in_a_text_is_text():
    display, output = lines()
    display.say("model [bold]m[/bold] [1, 2]")
    assert output.getvalue() == "• model [bold]m[/bold] [1, 2]\n"


def test_a_download_is_told_in_lines_now_and_then(monkeypatch):
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0.2)
    display, output = lines()
    with display.download("s3://models/digits") as progress:
        for done in range(1, 51):
            progress(done * 1_000_000, 100_000_000)
            time.sleep(0.02)
    told = output.getvalue().splitlines()
    assert 2 <= len(told) <= 6
    assert all(line.startswith("• s3://models/digits: ") and "of 100.0 MB" in line for line in told)
    assert all("/s, " in line and line.endswith(" s left") for line in told)


def test_a_short_download_says_nothing():
    display, output = lines()
    with display.download("s3://models/digits") as progress:
        progress(1, 1)
    assert output.getvalue() == ""


def test_an_unknown_size(monkeypatch):
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0)
    display, output = lines()
    with display.download("https://host/m") as progress:
        time.sleep(0.01)
        progress(2_000_000, None)
    assert "left" not in output.getvalue()
    assert "2.0 MB" in output.getvalue()
    assert "of 0 bytes" not in output.getvalue()


def test_bars_on_a_terminal():
    output = io.StringIO()
    display = Display(Console(file=output, width=100, force_terminal=True))
    with display.download("s3://models/digits") as progress:
        progress(50, 100)
        time.sleep(0.3)
    assert "50/100 bytes" in output.getvalue()
