"""The kinds of the API, by name."""

from forebay.api.model_deployment import ModelDeployment

KINDS: dict[str, type[ModelDeployment]] = {kind.__name__: kind for kind in (ModelDeployment,)}
