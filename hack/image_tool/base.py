"""The layers below all images: the C library; and the Python that runs this, with a shell."""

import compileall
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Collection
from pathlib import Path
from py_compile import PycInvalidationMode

from cluster_tool.images import unpack_busybox

from forebay.build.tree import Folder, Link, Tree, place
from image_tool.layers import Layer, hash_text
from image_tool.libraries import find_libraries

USER = 1000
PREFIX = "/usr/local"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
STDLIB = Path(sysconfig.get_path("stdlib"))
# Where `python3-config` has its parts.
CONFIG = Path(sysconfig.get_config_var("LIBPL") or "config").name
# Tests, graphics, what makes Python itself, and what others installed into it.
SKIPPED = {
    CONFIG, "__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test",
    "tests", "tkinter", "turtledemo",
}  # fmt: skip
SKIPPED_MODULES = ("_tkinter.", "_test", "xxlimited", "_ctypes_test", "turtle.py")


def build_identity() -> dict[str, bytes | Folder]:
    """What any image has: a user, name lookup by DNS, a place to write."""
    passwd = f"root:x:0:0::/:/bin/sh\nforebay:x:{USER}:{USER}::/tmp:/bin/sh\n"
    return {
        "/etc/passwd": passwd.encode(),
        "/etc/group": f"root:x:0:\nforebay:x:{USER}:\n".encode(),
        "/etc/nsswitch.conf": b"hosts: files dns\n",
        "/tmp": Folder(0o1777),  # noqa: S108  (the image's own)
    }


def build_python_layer() -> Layer:
    libc = " ".join(os.confstr(name) or "" for name in ("CS_GNU_LIBC_VERSION",))
    return Layer("python", hash_text(sys.version, sys.base_prefix, libc), build_python)


def build_python() -> Tree:
    stdlib = {
        name: path for name, path in find_files(STDLIB, skipped=SKIPPED).items()
        if not path.name.startswith(SKIPPED_MODULES)
    }  # fmt: skip
    extensions = [path for path in stdlib.values() if path.suffix == ".so"]
    interpreter = Path(sys._base_executable)
    programs = [interpreter.resolve(), *extensions]
    shell = shutil.which("bash")
    tree: dict[str, Path | bytes | Link | Folder] = {
        **build_identity(),
        **build_busybox(),
        **find_libraries([*programs, Path(shell)] if shell else programs),
        f"{PREFIX}/bin/{PYTHON}": interpreter.resolve(),
        f"{PREFIX}/bin/python3": Link(PYTHON),
        f"{PREFIX}/bin/python": Link(PYTHON),
    }
    if shell:
        # Triton's Python backend starts its models with it.
        tree["/bin/bash"] = Path(shell).resolve()
    if CERTIFICATES.exists():
        tree[str(CERTIFICATES)] = CERTIFICATES
    where = f"{PREFIX}/{STDLIB.relative_to(sys.base_prefix)}"
    return {**tree, **place(compile_files(stdlib), where)}


def build_busybox() -> dict[str, Path | Link]:
    """A shell and small tools, for `kubectl exec`."""
    kept = make_staging() / "busybox"
    with tempfile.TemporaryDirectory() as made:
        root = unpack_busybox(Path(made))
        shutil.copy2(root / "bin/busybox", kept)
        applets = [path.name for path in (root / "bin").iterdir() if path.is_symlink()]
    links = {f"/bin/{applet}": Link("busybox") for applet in applets}
    return {**links, "/bin/busybox": kept, "/usr/bin/env": Link("/bin/busybox")}


def find_files(root: Path, *, skipped: Collection[str] = ("__pycache__",)) -> dict[str, Path]:
    """Files that an image takes from a folder, by their path in it."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in skipped)
        found.update({str(Path(folder, name).relative_to(root)): Path(folder, name) for name in names})
    return found


def compile_files(files: dict[str, Path]) -> dict[str, Path]:
    """The files, and bytecode that is good whatever time they carry: nothing can write it in the image."""
    staged = make_staging()
    for name, path in files.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, staged / name)
    # Without the name of the folder, which is another one each time.
    compileall.compile_dir(
        staged, quiet=2, workers=0, stripdir=staged, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
    )
    return find_files(staged, skipped=())


def make_staging() -> Path:
    """A folder that lasts until this process ends."""
    STAGED.append(tempfile.TemporaryDirectory(prefix="forebay-image-"))
    return Path(STAGED[-1].name)


STAGED: list[tempfile.TemporaryDirectory] = []
