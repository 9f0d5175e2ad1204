"""`python -m forebay.serving.instances`: exits with 4 where the model's instances can't be scaled."""

import argparse
import logging
import signal
import sys
import threading

from forebay.serving.instances import EXIT_UNSCALABLE
from forebay.serving.instances.metrics import Metrics
from forebay.serving.instances.queue import Queue
from forebay.serving.instances.scaler import Scaler
from forebay.serving.instances.triton import Triton, Unscalable

_FAULT_S = 10.0
_log = logging.getLogger("forebay.serving.instances")


def main(arguments: list[str] | None = None) -> int:
    """Scale until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(description="Scale the instances of a model inside one Triton with the load.")
    parser.add_argument("--triton", required=True, metavar="HOST:PORT", help="where Triton takes gRPC")
    parser.add_argument("--admin", required=True, metavar="HOST:PORT", help="the admin of the queue's Envoy")
    parser.add_argument("--model", required=True, metavar="NAME", help="the model; the only one of the repository")
    parser.add_argument("--triton-metrics", required=True, metavar="HOST:PORT", help="where Triton tells its metrics")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="where to tell them, with these behind")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    # As process 1 of a container there is no default action.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    triton = Triton(options.triton, model=options.model)
    metrics = Metrics()
    metrics.serve(options.listen, triton=options.triton_metrics)
    scaler = Scaler(Queue(options.admin), triton, metrics, stop=stop)
    try:
        while not stop.is_set():
            try:
                scaler.run()
            except Unscalable as error:
                print(error, file=sys.stderr)
                return EXIT_UNSCALABLE
            except Exception:  # noqa: BLE001  (told, and tried again)
                # A container that ends takes its pod, whose Triton serves well, out of the Service.
                _log.exception("the instances stay as they are; the next look is in %.0f s", _FAULT_S)
                stop.wait(_FAULT_S)
    finally:
        triton.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
