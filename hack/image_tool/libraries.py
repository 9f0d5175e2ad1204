"""Shared libraries that programs need of this machine."""

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from cluster_tool.speech import ClusterError

# `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x...)`, and the loader: `/lib64/ld-linux-x86-64.so.2 (0x...)`.
LINE = re.compile(r"^\s+(?:(\S+) => )?(/\S+) \(0x", re.MULTILINE)
# What any wheel (manylinux) may count on, and what glibc loads by itself to look up a name.
ALWAYS = (
    "libanl.so.1", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libnss_dns.so.2", "libnss_files.so.2",
    "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1", "libz.so.1",
)  # fmt: skip


def find_libraries(
    programs: Iterable[Path], *, given: Iterable[Path] = (), env: Mapping[str, str] | None = None
) -> Mapping[str, Path]:
    """Where the libraries lie in an image, and where here: beside libc, where the loader looks unasked.

    Those under `given`, the folders that come into the image by themselves, are left out.
    """
    command = ["ldd", *map(str, programs)]
    # Its status is 1 when one of many is no dynamic program.
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env).stdout
    found = {(name, Path(path)) for name, path in LINE.findall(said)}
    libc = next((path for name, path in found if name == "libc.so.6"), None)
    if libc is None:
        raise ClusterError(f"`{command[0]} {command[1]} …` finds no glibc: images are built from this machine's")
    placed = {str(path): path for name, path in found if not name}
    for name, path in found:
        if name and not any(path.is_relative_to(folder) for folder in given):
            placed[f"{libc.parent}/{name}"] = path
    for name in ALWAYS:
        if (libc.parent / name).exists():
            placed[f"{libc.parent}/{name}"] = libc.parent / name
    return {where: path.resolve() for where, path in placed.items()}
