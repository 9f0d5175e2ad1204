"""What can go wrong on this machine, as sentences that say what to do."""

from forebay.errors import UserError


class LocalError(UserError):
    """Serving can't go on."""
