"""Images without a build daemon: a folder becomes the one layer of a docker-archive."""

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
from pathlib import Path

from cluster_tool.commands import call
from cluster_tool.places import CACHE
from cluster_tool.speech import say

PAUSE = "forebay.test/pause:1"
# A shell, httpd, wget and nslookup: what tests of the cluster itself put into pods.
BASE = "forebay.test/base:1"
BUSYBOX = "busybox-static"
USER = 65532
DOWNLOAD_S = 300
PAUSE_SOURCE = Path(__file__).with_name("pause.c")


def ensure_images(*names: str) -> dict[str, Path]:
    """Archives of some of the cluster's own images, by name, made on the first call."""
    digest = hashlib.sha256(PAUSE_SOURCE.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    folder = CACHE / f"images-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    archives = {name: folder / f"{name.replace('/', '_').replace(':', '_')}.tar" for name in names}
    for name, archive in archives.items():
        if archive.exists():
            continue
        say(f"making the image {name}")
        with tempfile.TemporaryDirectory() as made:
            if name == PAUSE:
                write_image(archive, name, compile_pause(Path(made)), ["/pause"])
            else:
                write_image(archive, name, unpack_busybox(Path(made)), ["/bin/sh"])
    return archives


def compile_pause(folder: Path) -> Path:
    call("gcc", "-static", "-Os", "-s", "-o", folder / "pause", PAUSE_SOURCE)
    return folder


def unpack_busybox(folder: Path) -> Path:
    call(
        "sh",
        "-c",
        'cd "$1" && apt-get download -qq "$2" && dpkg -x "$2"_*.deb .',
        "-",
        folder,
        BUSYBOX,
        timeout_s=DOWNLOAD_S,
    )
    root = folder / "root"
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (folder / "bin/busybox").rename(root / "bin/busybox")
    for applet in call(root / "bin/busybox", "--list").split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nuser:x:{USER}:{USER}::/tmp:/bin/sh\n")
    (root / "etc/group").write_text(f"root:x:0:\nuser:x:{USER}:\n")
    return root


def write_image(archive: Path, name: str, root: Path, command: list[str]) -> None:
    """A docker-archive whose only layer is the tree under `root`; it runs as an ordinary user."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(root, arcname=".", filter=own_by_root)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": command, "Env": ["PATH=/usr/bin:/bin"], "User": f"{USER}:{USER}", "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    made = archive.with_name(f"{archive.name}.{os.getpid()}")
    with tarfile.open(made, mode="w") as tar:
        for member, content in (
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
            ("layer.tar", layer.getvalue()),
        ):
            header = tarfile.TarInfo(member)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    made.rename(archive)


def own_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
