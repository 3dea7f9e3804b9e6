"""The one class of error that is a user's to mend."""


class UserError(Exception):
    """Something the user can mend: `message` says what and where, `hint` what to do about it.

    The command line prints the two as `error: ...` and `hint: ...` and exits with status 2; a
    traceback is shown only with `--debug`.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str]]:
        """Both parts survive the way from a worker process."""
        return type(self), (self.message, self.hint)
