"""kopf, without the Python client of Kubernetes: it would import it for those who hand it that client's objects."""

from forebay.kube.lean_client import hide_models, skip_package_imports

skip_package_imports()
with hide_models():
    import kopf
    from kopf._cogs.clients.errors import APIForbiddenError as ForbiddenError

__all__ = ["ForbiddenError", "kopf"]
