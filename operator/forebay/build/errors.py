"""Why no image could be made."""

from forebay.errors import UserError


class BuildError(UserError):
    """The image can't be made, or not be pushed; the message says what to write instead.

    `passing`: another try may help.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing
