"""Where a model's files come from, and what they are."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr, StringConstraints

from forebay.api.base import Form, Model, Name, Rule
from forebay.api.uris import URI_FORM, URI_PATTERN

ModelUri = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=URI_PATTERN), Form(URI_FORM)]
ModelFormat = Literal["onnx", "tensorrt", "torchscript", "openvino", "savedmodel", "xgboost", "lightgbm"]
ImagePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=r"^(/[^/. \t\n\r#][^/ \t\n\r#]*)+/?$|^/$"),
    Form("a path from the image's root, with no hidden folder in it: /models"),
]
VersionReference = Annotated[
    str,
    StringConstraints(
        min_length=3,
        max_length=127,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(:[a-z0-9]([-a-z0-9.]*[a-z0-9])?|@[a-z0-9]([-a-z0-9]*[a-z0-9])?)$",
    ),
    Form("MODEL:VERSION or MODEL@ALIAS: digits:3, digits@champion"),
]


class Credentials(Model):
    """Where the credentials for a model's storage come from."""

    secret_name: Name = Field(
        description="Secret in the same namespace whose keys become environment variables of the download, under "
        "the names that the storage's own tools use. s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, "
        "AWS_REGION, AWS_ENDPOINT_URL. gs: GOOGLE_APPLICATION_CREDENTIALS_JSON (the text of a service account's key). "
        "az: AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_KEY, or AZURE_STORAGE_CONNECTION_STRING, or AZURE_CLIENT_ID "
        "with AZURE_TENANT_ID and AZURE_CLIENT_SECRET. hf: HF_TOKEN, HF_ENDPOINT. oci: DOCKER_AUTH_CONFIG (the text "
        "of a docker config.json). https: HTTPS_TOKEN (a bearer token). models: those of the storage where MLflow "
        "keeps the files; where MLflow itself hands them out MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME with "
        "MLFLOW_TRACKING_PASSWORD."
    )


class ModelSource(Model):
    """Where the model's files come from, and what they are."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.uri) != has(self.version)",
            "write exactly one of uri (s3://BUCKET/PREFIX) and version (digits@champion or digits:3)",
        ),
        Rule(
            "!has(self.credentials) || !has(self.uri) || !(self.uri.startsWith('pvc://') || self.uri.startsWith('nfs://'))",
            "is of no use for a volume, which the kubelet mounts: leave it out",
            ".credentials",
        ),
        Rule(
            "!has(self.uri) || !self.uri.startsWith('models:/') || self.uri.matches('^models:/[^/@]+(/[0-9]+|@.+)$')",
            "names a version of MLflow's by its number (models:/NAME/3) or by an alias (models:/NAME@champion): stages "
            "and `latest` are not served, as what they name changes with nobody's say; give the version an alias",
            ".uri",
        ),
        Rule(
            "!has(self.imagePath) || (has(self.uri) && self.uri.startsWith('oci://'))",
            "goes with an image: write uri: oci://REGISTRY/REPOSITORY:TAG",
            ".imagePath",
        ),
        Rule(
            "!has(self.imagePath) || !has(self.credentials)",
            "is of no use for an image, which the kubelet pulls: leave it out, and name the registry's Secret in "
            "predictor.podTemplate.spec.imagePullSecrets",
            ".credentials",
        ),
        Rule(
            "!has(self.config) || has(self.format) || has(self.version) || !has(self.uri) || "
            "self.uri.startsWith('models:/')",
            "goes with format: a Triton repository has a config.pbtxt of its own, which you change there",
            ".config",
        ),
        Rule(
            "!has(self.format) || self.format != 'torchscript' || has(self.config)",
            "a TorchScript file doesn't tell the types and shapes of its inputs and outputs: write input and output "
            "into config",
            ".config",
        ),
    )
    uri: ModelUri | None = Field(
        default=None,
        repr=False,
        description=f"Address of the model's files: {URI_FORM}. An archive behind https is unpacked; file: is for "
        "`forebay serve` alone, and relative to the manifest; hf: takes a folder too (hf://ORG/MODEL@main/FOLDER); "
        "oci: takes @sha256:DIGEST too, and each layer is a file, by its annotation org.opencontainers.image.title, or "
        "a tar archive; pvc: (a claim of the namespace) and nfs: are mounted read-only and used in place, nfs: where "
        "Pod Security isn't `restricted`; models:/NAME/VERSION and models:/NAME@ALIAS are a version of MLflow's "
        "registry (the installation names the server), and moving the alias rolls out. For Triton this is a model "
        "repository, or the folder of one model, or with `format` a model's file, or a model that MLflow saved.",
        examples=["s3://models/digits/3", "file:./model"],
    )
    version: VersionReference | None = Field(
        default=None,
        description="A ModelVersion of the same namespace instead of an address: MODEL:VERSION names one, MODEL@ALIAS "
        "whichever has the alias, so that moving the alias rolls out. Its uri is used, and its credentials unless "
        "there are some here.",
        examples=["digits@champion", "digits:3"],
    )
    image_path: ImagePath | None = Field(
        default=None,
        description="Where the model is in a container image that oci: names: /models in KServe's modelcars. "
        "The kubelet pulls the image, keeps it on the node, and mounts it read-only: there is no download. The cluster "
        "needs image volumes for that (Kubernetes 1.35, or the feature gate ImageVolume, and containerd 2.1 or CRI-O); "
        "one that lacks them refuses the pods, which Ready says. Left out, the layers are downloaded.",
        examples=["/models"],
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Credentials for the storage. `forebay serve` takes the same variables from its environment.",
    )
    format: ModelFormat | None = Field(
        default=None,
        description="What the file (for savedmodel the folder) is, where it is no Triton repository: Forebay lays the "
        "repository out beside it, and writes the config.pbtxt. xgboost is a file of save_model (.ubj or .json), "
        "lightgbm one of save_model (.txt); scikit-learn's models become ONNX by skl2onnx. Triton needs the backend: "
        "NVIDIA's image has them all, save that TensorFlow's, for savedmodel, went with 25.03.",
    )
    config: str | None = Field(
        default=None,
        min_length=1,
        max_length=65536,
        description="Part of a config.pbtxt, over the one that Forebay writes for `format`: "
        "`max_batch_size: 8 instance_group [{count: 2, kind: KIND_CPU}]`. A list takes the place of the one written "
        "by Forebay; all else is merged.",
    )
    # Of the version that was named: what is applied has its address alone.
    _digest: str = PrivateAttr(default="")

    @property
    def digest(self) -> str:
        """The content's digest, where the registry tells it."""
        return self._digest

    def remember_digest(self, digest: str) -> None:
        """Keep the digest of the version that the address is of."""
        self._digest = digest
