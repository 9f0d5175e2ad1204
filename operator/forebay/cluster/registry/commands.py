"""What `forebay models` and `alias` do in a cluster."""

from datetime import UTC, datetime

from rich.console import Console

from forebay.cluster.deployments import list_deployments
from forebay.cluster.registry.show import build_models_table, build_versions_table
from forebay.cluster.registry.versions import list_bodies, move_alias
from forebay.cluster.session import Target, connect
from forebay.plan.versions import choose_version, read_version, split_reference


async def show_models(target: Target, name: str, *, console: Console) -> None:
    """Print the models of a namespace, or the versions of one. Raises VersionError where there is none such."""
    async with connect(target) as cluster:
        bodies, deployments = await list_bodies(cluster), await list_deployments(cluster)
        if not bodies and not name:
            text = (
                f"no ModelVersion in namespace {cluster.namespace}: `forebay push DIR NAME --to s3://BUCKET` makes one"
            )
            console.print(text, highlight=False, markup=False)
            return
        own = [each for each in bodies if each["spec"]["model"] == name]
        if name and not own:
            choose_version(f"{name}:", map(read_version, bodies))  # which raises, and names what there is
        table = (
            build_versions_table(own, deployments, datetime.now(UTC))
            if name
            else build_models_table(bodies, deployments)
        )
        console.print(table, markup=False, highlight=False)


async def give_alias(target: Target, reference: str, version: str, *, console: Console) -> None:
    """Move an alias, and tell from where to where."""
    async with connect(target) as cluster:
        lost = await move_alias(cluster, reference, version)
    from_ = f", and no more {' and '.join(each.reference for each in lost)}" if lost else ""
    console.print(f"{reference} is {split_reference(reference)[0]}:{version}{from_}", highlight=False)
