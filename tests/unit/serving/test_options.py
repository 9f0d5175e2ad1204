from pathlib import Path

import pytest

from forebay.serving.options import parse_options

NEEDED = ["--script", "a.py", "--name", "digits", "--role", "predictor"]


def test_flags_and_defaults():
    options = parse_options([*NEEDED, "--http-port", "9000"], {})
    assert (options.host, options.http_port, options.grpc_port, options.concurrency) == ("127.0.0.1", 9000, 8081, 8)
    assert options.max_request_bytes == 512 * 2**20
    assert options.predictor is None


def test_the_environment_stands_in_for_flags():
    environment = {
        "FOREBAY_SCRIPT": "b.py", "FOREBAY_NAME": "digits", "FOREBAY_ROLE": "transformer", "FOREBAY_GRPC_PORT": "9001",
        "FOREBAY_PREDICTOR": "127.0.0.1:81", "FOREBAY_SHUTDOWN_TIMEOUT": "2.5", "FOREBAY_PARAMETER_THRESHOLD": "0.4",
    }  # fmt: skip
    options = parse_options(["--script", "a.py"], environment)
    assert options.script == Path("a.py")
    assert (options.role, options.grpc_port, options.shutdown_timeout_s) == ("transformer", 9001, 2.5)
    assert options.parameters == {"threshold": "0.4"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (NEEDED[:-2], "--role"),
        ([*NEEDED[:-1], "transformer"], "--predictor HOST:PORT"),
        ([*NEEDED, "--http-port", "0"], "must be a port"),
        ([*NEEDED, "--concurrency", "-1"], "must be a number"),
    ],
)
def test_flags_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_options(arguments, {})
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
