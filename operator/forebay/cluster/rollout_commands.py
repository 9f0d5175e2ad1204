"""The subcommands of rollouts: their options. What they need is imported in them, so that help is quick."""

import math
from typing import Annotated

import typer

from forebay.cluster.commands import (
    Context,
    Kubeconfig,
    Name,
    Namespace,
    build_console,
    build_named_target,
    run,
)
from forebay.errors import UserError


def rollout(  # noqa: PLR0913  (options)
    name: Name,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it, until it is over or aborted.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds that --watch waits; else without end.")] = None,
) -> None:
    """Show how far a rollout is: its step, and the share and instances of both revisions. Status 0: it is over."""
    from forebay.cluster.rollout_watch import show_rollout, watch_rollout  # noqa: PLC0415

    if timeout and not watch:
        raise UserError("--timeout is how long --watch waits: write both")
    target, name = build_named_target(name, namespace, context, kubeconfig)
    console, timeout_s = build_console(), timeout or math.inf
    shown = watch_rollout(target, name, timeout_s=timeout_s, console=console) if watch else None
    raise typer.Exit(0 if run(shown or show_rollout(target, name, console=console)) else 1)


def promote(
    name: Name,
    *,
    full: Annotated[bool, typer.Option("--full", help="To its end, without any further step.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a rollout go on with its next step now (spec.rollout.promote)."""
    from forebay.cluster.rollout_actions import promote as promote_there  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(promote_there(target, name, full=full, console=build_console()))


def abort(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Send all requests back to the revision that serves (spec.rollout.abort)."""
    from forebay.cluster.rollout_actions import abort as abort_there  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(abort_there(target, name, console=build_console()))


def rollback(
    name: Name,
    to: Annotated[
        str, typer.Argument(metavar="[REVISION]", help="As r3, or its name; else the one that served before.")
    ] = "",
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Serve what was before, at once and with no steps (spec.rollout.rollback)."""
    from forebay.cluster.rollout_actions import roll_back  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(roll_back(target, name, to, console=build_console()))


def history(
    name: Name,
    *,
    output: Annotated[str, typer.Option("--output", "-o", help="json: one document, for programs.")] = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the revisions that were rolled out: when, by whom, with which model, and what each does now."""
    from forebay.cluster.history import show_history  # noqa: PLC0415

    if output not in ("", "json"):
        raise UserError(f"-o {output}: write -o json")
    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(show_history(target, name, as_json=bool(output), console=build_console()))


def diff(  # noqa: PLR0913  (options)
    name: Name,
    before: Annotated[str, typer.Argument(metavar="REVISION", help="As r3, or its name.")],
    after: Annotated[
        str, typer.Argument(metavar="[REVISION]", help="The one that it is compared with; else the one that serves.")
    ] = "",
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what changed from one revision to another."""
    from forebay.cluster.history import show_diff  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(show_diff(target, name, before, after, console=build_console()))


def retry(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Try a revision again that has failed (spec.rollout.retry)."""
    from forebay.cluster.rollout_actions import retry as retry_there  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(retry_there(target, name, console=build_console()))


def pause(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Hold the rollouts of a ModelDeployment where they are (spec.rollout.paused)."""
    from forebay.cluster.rollout_actions import pause as pause_there  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(pause_there(target, name, console=build_console()))


def resume(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Let rollouts go on that are held; one that was aborted is tried again."""
    from forebay.cluster.rollout_actions import resume as resume_there  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(resume_there(target, name, console=build_console()))
