"""A script, its libraries and its base, made into an image: the layers here, the base's by name alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forebay.build.base import Base
from forebay.build.errors import BuildError
from forebay.build.image import (
    CONFIG,
    Descriptor,
    Document,
    Settings,
    build_config,
    build_index,
    build_manifest,
    write_document,
)
from forebay.build.layers import Layer, pack_layer
from forebay.build.names import ImageName
from forebay.build.requirements import PACKAGES, Requirements, install
from forebay.build.script import Script, walk
from forebay.build.tree import Tree

MODEL = "/opt/forebay/model"
USER = "1000:1000"
HTTP_PORT, GRPC_PORT = 8000, 8001
_ANNOTATION = "org.opencontainers.image"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What goes into an image. `python` is for a base that doesn't tell its own."""

    script: Script
    name: str
    requirements: Requirements | None = None
    model: Path | None = None
    python: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True, kw_only=True)
class PlatformImage:
    """The image of one platform: what is pushed of it, in this order."""

    base: Base
    layers: Sequence[Layer]
    config: Document
    manifest: Document


@dataclass(frozen=True, kw_only=True)
class Image:
    """What was made: one manifest, or an index of several."""

    platforms: Sequence[PlatformImage]
    top: Document

    @property
    def digest(self) -> str:
        """What the image is called by."""
        return self.top.descriptor.digest

    @property
    def documents(self) -> list[Document]:
        """Manifests, and the index if there is one, in the order in which they refer to each other."""
        made = [each.manifest for each in self.platforms]
        return made if self.top in made else [*made, self.top]

    @property
    def blobs(self) -> dict[Descriptor, Layer | bytes | None]:
        """All blobs, each once: where a layer lies, the bytes of a config, None for what is the base's."""
        found: dict[Descriptor, Layer | bytes | None] = {}
        for each in self.platforms:
            found.update(dict.fromkeys(each.base.layers))
        for each in self.platforms:
            found.update({layer.descriptor: layer for layer in each.layers})
            found[each.config.descriptor] = each.config.body
        return found


def build(
    recipe: Recipe, bases: Sequence[Base], base_name: ImageName, folder: Path, *, say: Callable[[str], None]
) -> Image:
    """Make the image for the platforms of all bases, with its layers in `folder`. Raises BuildError."""
    shared = _pack_shared(recipe, folder)
    made = []
    for base in bases:
        layers = {**_pack_packages(recipe, base, folder, say), **shared}
        made.append(_build_platform(recipe, base, base_name, layers))
    if len(made) == 1:
        return Image(platforms=made, top=made[0].manifest)
    return Image(platforms=made, top=build_index({each.base.platform: each.manifest.descriptor for each in made}))


def _pack_shared(recipe: Recipe, folder: Path) -> dict[str, Layer]:
    """The layers that are the same for all platforms: what changes most often lies on top."""
    trees: dict[str, Tree] = {}
    if recipe.model:
        files = [recipe.model] if recipe.model.is_file() else list(walk(recipe.model))
        root = recipe.model.parent if recipe.model.is_file() else recipe.model
        if not files:
            raise BuildError(f"{recipe.model} holds no file: write the path of the model's folder")
        trees["model"] = {f"{MODEL}/{path.relative_to(root)}": path for path in files}
    trees["script"] = recipe.script.files
    return {name: pack_layer(tree, folder / f"{name}.tar.gz") for name, tree in trees.items()}


def _pack_packages(recipe: Recipe, base: Base, folder: Path, say: Callable[[str], None]) -> dict[str, Layer]:
    if recipe.requirements is None:
        return {}
    python = recipe.python or base.python
    if not python:
        raise BuildError("the base doesn't say what Python it has (PYTHON_VERSION in its environment): write --python")
    say(f"installing {recipe.requirements.file.name} for {base.platform} and Python {python}")
    own = folder / base.platform.replace("/", "-")
    own.mkdir()
    tree = install(recipe.requirements, platform=base.platform, python=python, folder=own)
    return {"requirements": pack_layer(tree, own / "requirements.tar.gz")}


def _build_platform(recipe: Recipe, base: Base, base_name: ImageName, layers: Mapping[str, Layer]) -> PlatformImage:
    diffs = {name: layer.diff_id for name, layer in layers.items()}
    settings = build_settings(recipe)
    config = write_document(CONFIG, build_config(base.config, diffs, settings, created=recipe.created))
    descriptors = [*base.layers, *(layer.descriptor for layer in layers.values())]
    annotations = {
        f"{_ANNOTATION}.base.name": f"{base_name.registry}/{base_name.repository}:{base_name.tag or 'latest'}",
        f"{_ANNOTATION}.base.digest": base.digest,
        f"{_ANNOTATION}.title": recipe.name,
    }
    manifest = build_manifest(config.descriptor, descriptors, annotations)
    return PlatformImage(base=base, layers=[*layers.values()], config=config, manifest=manifest)


def build_settings(recipe: Recipe) -> Settings:
    """How the server is started: by itself for `docker run`, otherwise in a pod, whose variables come over these."""
    env = {
        "FOREBAY_SCRIPT": recipe.script.place,
        "FOREBAY_ROLE": recipe.script.role,
        "FOREBAY_NAME": recipe.name,
        "FOREBAY_HOST": "0.0.0.0",  # noqa: S104  (in a container of its own)
        "FOREBAY_HTTP_PORT": str(HTTP_PORT),
        "FOREBAY_GRPC_PORT": str(GRPC_PORT),
        # The root may be read-only.
        "HOME": "/tmp",  # noqa: S108
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if recipe.requirements:
        env["PYTHONPATH"] = PACKAGES
    if recipe.model:
        env["FOREBAY_MODEL_DIR"] = MODEL
    return Settings(
        entrypoint=["python", "-m", "forebay.serving"],
        user=USER,
        env=env,
        labels={f"{_ANNOTATION}.title": recipe.name, **recipe.labels},
        ports=(HTTP_PORT, GRPC_PORT),
    )
