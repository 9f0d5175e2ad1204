"""Free ports, and who holds those that aren't."""

import os
import socket
import subprocess
import sys

import pytest

from forebay.local.errors import LocalError
from forebay.local.ports import find_free_ports, require_free_port


def test_free_ports_are_different_and_free():
    ports = find_free_ports(50)
    assert len(set(ports)) == 50
    for port in ports[:5]:
        require_free_port(port)


def test_another_process_gets_none_of_them():
    chosen = find_free_ports(20)
    program = (
        "import sys; from forebay.local import ports; ports._OURS = [int(each) for each in sys.argv[1:]]; "
        "print(*ports.find_free_ports(1))"
    )
    command = [sys.executable, "-c", program, *map(str, chosen)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert int(found) not in chosen


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_holder_of_a_port_is_named(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"port {port} is taken by .+ \\(process {os.getpid()}\\): choose another"):
            require_free_port(port)
    require_free_port(port)


def test_another_process_is_named_by_its_program():
    program = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
        "sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        port = int(other.stdout.readline())
        with pytest.raises(LocalError, match=f"taken by python\\S* \\(process {other.pid}\\)"):
            require_free_port(port)
        other.stdin.close()


def test_a_port_that_was_just_left_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            pass  # the server's side closes first, and waits
    require_free_port(port)
