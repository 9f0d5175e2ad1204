"""The subcommand of shadows: its options. What it needs is imported in it, so that help is quick."""

from forebay.cluster.commands import Context, Kubeconfig, Name, Namespace, build_console, build_named_target, run


def shadow(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Tell how the answers to copies of requests compare: how many agree, how long they took, and where some differ."""
    from forebay.cluster.shadow import show_shadow  # noqa: PLC0415

    target, name = build_named_target(name, namespace, context, kubeconfig)
    run(show_shadow(target, name, console=build_console()))
