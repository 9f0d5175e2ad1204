"""Why no image could be made."""

from forebay.errors import UserError


class BuildError(UserError):
    """The image can't be made, or not be pushed; the message says what to write instead."""
