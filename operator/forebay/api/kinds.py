"""The kinds of the API, by name."""

from forebay.api.base import Kind
from forebay.api.model_deployment import ModelDeployment

KINDS: dict[str, type[Kind]] = {kind.__name__: kind for kind in (ModelDeployment,)}
