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

from forebay.build.layers import read_file
from forebay.build.names import read_target
from forebay.build.registry import Target, is_plain
from forebay.errors import UserError
from image_tool import layers
from image_tool.archive import BuiltImage, write_archive
from image_tool.definitions import VERSION, Image, build_config, define_images

REGISTRY = "forebay.test"
USAGE = """
  hack/images                                  build all, load what the cluster lacks
  hack/images runtime                          only this one
  hack/images runtime --push localhost:5000    push it to a registry, as forebay/runtime:VERSION
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
    parser.add_argument(
        "--push", metavar="REGISTRY", help="push to this registry instead of giving them to the cluster"
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write docker-archives there")
    arguments = parser.parse_args()
    try:
        with places.exclusively():
            run(arguments.image or NAMES, arguments.to, arguments.push)
    except (ClusterError, UserError) as error:
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


def run(names: tuple[str, ...] | list[str], folder: Path | None, registry: str | None) -> None:
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
    if registry:
        for image in images.values():
            with step(f"pushed {image.name} to {registry}"):
                say(push(image, registry))
        return
    if not is_up():
        say("no cluster to load them into: `hack/cluster up`, then this again")
        return
    load([*images.values()])
    write_values({name: image.reference for name, image in images.items()})


def build(image: Image) -> BuiltImage:
    built = [layers.ensure_layer(layer) for layer in image.layers]
    config = build_config(image, built)
    digest = config.descriptor.digest.removeprefix("sha256:")
    exact = f"{REGISTRY}/{image.name}:{digest[:12]}"
    reference = f"{REGISTRY}/{image.name}:{image.tag}" if image.tag else exact
    return BuiltImage(image.name, reference, exact, config, built)


def push(image: BuiltImage, registry: str) -> str:
    """What it is called there."""
    name = read_target(f"{registry}/forebay/{image.name}:{VERSION}")
    target = Target(name, allow_loopback=True, plain=is_plain(name, insecure=False))
    blobs = {each: layer.archive for each, layer in zip(image.descriptors, image.layers, strict=True)}
    for blob, archive in blobs.items():
        if not target.has(blob.digest):
            target.upload(blob, lambda archive=archive: read_file(archive))
    target.upload(image.config.descriptor, lambda: [image.config.body])
    target.put(image.manifest, name.tag)
    target.close()
    return f"{name} is {image.manifest.descriptor.digest}"


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
