"""What can go wrong on this machine, as sentences that say what to do."""


class LocalError(Exception):
    """Serving can't go on. The message says why and what to do; it is shown without a traceback."""
