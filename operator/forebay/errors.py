"""What the user of a command can mend."""


class UserError(Exception):
    """The message says what is wrong and what to do; it is shown without a traceback."""
