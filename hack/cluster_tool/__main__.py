"""The command line of hack/cluster."""

import argparse
import sys

from cluster_tool import host, kind, kubectl, places, programs
from cluster_tool.speech import ClusterError, complain

USAGE = """
  hack/cluster up --gpus 4                              start it (or what is missing of it), with 4 fake GPUs
  KUBECONFIG=$(hack/cluster kubeconfig) kubectl get nodes
  hack/cluster status                                   what runs; exit status 1 if anything doesn't
  hack/cluster down                                     leave nothing behind
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="hack/cluster", description=__doc__, epilog=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the cluster, or what is missing of it")
    up.add_argument("--gpus", type=count, metavar="N", help="let the node offer N nvidia.com/gpu (0: none any more)")
    commands.add_parser("build", help="build what it is made of, and start nothing")
    commands.add_parser("down", help="stop it and clean up")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig")
    commands.add_parser("load", help="give the node images").add_argument(
        "archive", nargs="+", help="docker-archive tar"
    )
    arguments = parser.parse_args()
    try:
        return run(arguments)
    except ClusterError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("interrupted: `hack/cluster up` goes on from here, `hack/cluster down` cleans up")
        return 130


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a count")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    if arguments.command == "kubeconfig":
        if not places.KUBECONFIG.exists():
            raise ClusterError("no cluster: start one with `hack/cluster up`")
        print(places.KUBECONFIG)
        return 0
    backend = kind if kind.is_usable() else host
    if arguments.command == "status":
        return 0 if backend.report() else 1
    with places.exclusively():
        if arguments.command == "build":
            programs.ensure_kubernetes()
            kubectl.find()
        elif arguments.command == "up":
            backend.start(gpus=arguments.gpus)
        elif arguments.command == "load":
            backend.load(arguments.archive)
        else:
            backend.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
