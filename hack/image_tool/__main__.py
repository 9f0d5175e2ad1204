"""Build the images that Forebay's pods run, and give them to the test cluster.

They hold what the Containerfiles of serving-images/ say, but for their base: this machine's Python and C library, Envoy
from its wheel, and in place of NVIDIA's Triton the one of the nvidia-pytriton wheel, on the CPU. They are for the test
cluster only.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import yaml
from cluster_tool import host, kind, places
from cluster_tool.probes import listens
from cluster_tool.speech import ClusterError, complain, say, step

from forebay.local.errors import LocalError
from image_tool import layers
from image_tool.archive import BuiltImage, write_archive
from image_tool.definitions import Image, build_config, define_images
from image_tool.layers import hash_text

REGISTRY = "forebay.test"
USAGE = """
  hack/images                                  build all, load what the cluster lacks
  hack/images runtime                          only this one
  hack/images --to FOLDER                      write docker-archives too, for `docker load` or another cluster
  helm install ... --values ~/.local/state/forebay-cluster/images.yaml
"""
CHARTED = ("operator", "runtime", "triton", "envoy")
# An S3 server for demos and tests, beside what the chart knows.
NAMES = (*CHARTED, "store")
VALUES = places.STATE / "images.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="hack/images", description=__doc__, epilog=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", nargs="*", type=name, metavar="IMAGE", help=f"of {', '.join(NAMES)}; all unless told")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write docker-archives there")
    arguments = parser.parse_args()
    try:
        with places.exclusively():
            run(arguments.image or NAMES, arguments.to)
    except (ClusterError, LocalError) as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("interrupted: what is built so far is kept")
        return 130
    return 0


def name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}")
    return text


def run(names: tuple[str, ...] | list[str], folder: Path | None) -> None:
    wanted = define_images(say)
    images = {name: build(wanted[name]) for name in names}
    for image in images.values():
        say(f"{image.reference} [dim]{image.size / 1e6:.0f} MB[/]")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            with step(f"wrote {folder / name}.tar"):
                write_archive(folder / f"{name}.tar", [image])
    layers.forget_unused()
    if not is_up():
        say("no cluster to load them into: `hack/cluster up`, then this again")
        return
    load([*images.values()])
    write_values({name: image.reference for name, image in images.items()})


def build(image: Image) -> BuiltImage:
    built = [layers.ensure_layer(layer) for layer in image.layers]
    config = build_config(image, [layer.digest for layer in built])
    digest = hash_text(config.decode())
    exact = f"{REGISTRY}/{image.name}:{digest[:12]}"
    reference = f"{REGISTRY}/{image.name}:{image.tag}" if image.tag else exact
    return BuiltImage(image.name, reference, exact, config, built)


def is_up() -> bool:
    if not places.KUBECONFIG.exists():
        return False
    return kind.is_usable() or listens(places.CONTAINERD_SOCKET) is None


def load(images: list[BuiltImage]) -> None:
    backend = kind if kind.is_usable() else host
    known = backend.list_images()
    missing = [image for image in images if image.exact not in known]
    if not missing:
        say("the cluster has them all")
        return
    # On the disk of the cache: /tmp may be memory.
    with (
        step(f"loaded {', '.join(image.name for image in missing)}"),
        tempfile.TemporaryDirectory(dir=places.CACHE) as made,
    ):
        archive = Path(made) / "images.tar"
        write_archive(archive, missing, known=backend.list_blobs())
        backend.load([archive])


def write_values(references: dict[str, str]) -> None:
    """A Helm values file; images that were not built this time stay as they are."""
    kept = yaml.safe_load(VALUES.read_text())["images"] if VALUES.exists() else {}
    charted = {name: reference for name, reference in references.items() if name in CHARTED}
    VALUES.write_text(yaml.safe_dump({"images": {**kept, **charted}}))
    say(f"values for Helm: {VALUES}")


if __name__ == "__main__":
    sys.exit(main())
