"""What is said when a model's files can't be had: one sentence for each situation, whatever storage they are in.

A storage finds out which situation it is, and fills in what is its own: its nouns, and the names of its variables.
"""

from dataclasses import dataclass

from forebay.serving.storage.errors import Reason, StorageError

IN_MANIFEST = "(in a ModelDeployment: spec.model.credentials.secretName)"


@dataclass(frozen=True)
class Words:
    """The words of one kind of storage. `object_` and `bucket` are its nouns, the others finish a sentence."""

    object_: str
    bucket: str
    credentials: str
    grant: str
    renew: str
    endpoint: str = ""
    manifest: str = IN_MANIFEST

    def missing_credentials(self, where: str) -> StorageError:
        """Nobody in particular asked for what isn't public. Servers don't say whether it is there at all."""
        return StorageError(
            Reason.CREDENTIALS_MISSING,
            f"{where} isn't public, or isn't there, and no credentials are set: {self.credentials} {self.manifest}",
        )

    def expired(self, where: str) -> StorageError:
        """The credentials were good once, or never."""
        return StorageError(
            Reason.CREDENTIALS_EXPIRED, f"{where}: the credentials aren't accepted (any more): {self.renew}"
        )

    def denied(self, where: str, said: str = "") -> StorageError:
        """The credentials are good, and not for this."""
        message = f"{where}: the credentials don't allow it, or it isn't there: {self.grant}"
        return StorageError(Reason.ACCESS_DENIED, message + (f". It says: {said}" if said else ""))

    def no_bucket(self, where: str) -> StorageError:
        """What holds the objects isn't there."""
        other = f", or for one of another server ({self.endpoint})" if self.endpoint else ""
        return StorageError(
            Reason.BUCKET_NOT_FOUND,
            f"{where}: there is no such {self.bucket}: look for a typing error in its name{other}",
        )

    def no_name(self, where: str) -> StorageError:
        """Nothing can have such a name there."""
        return StorageError(
            Reason.BUCKET_NOT_FOUND, f"{where}: there can't be such a {self.bucket} or {self.object_}: correct the uri"
        )

    def gone(self, where: str) -> StorageError:
        """It was listed."""
        return StorageError(
            Reason.CORRUPT_DOWNLOAD,
            f"{where}: the {self.object_} is gone: it was deleted or replaced during the download: run this again",
        )

    def replaced(self, where: str) -> StorageError:
        """It is another version than was listed."""
        return StorageError(
            Reason.CORRUPT_DOWNLOAD, f"{where}: the {self.object_} was replaced during the download: run this again"
        )

    def damaged(self, where: str, what: str) -> StorageError:
        """The bytes are others than the server's `what` says."""
        return StorageError(
            Reason.CORRUPT_DOWNLOAD,
            f"{where}: the bytes that arrived don't match the {self.object_}'s {what}: run this again (the file is "
            f"fetched anew); if it stays, the {self.object_} is damaged: upload it again",
        )

    def unreachable(self, where: str, server: str) -> StorageError:
        """There is no connection. `server` is its address."""
        return StorageError(
            Reason.ENDPOINT_UNREACHABLE,
            f"{where}: {server} can't be reached: look at {self.endpoint or 'its name'}, name resolution, proxies "
            "(HTTPS_PROXY) and network policies",
            transient=True,
        )

    def not_storage(self, where: str, server: str, protocol: str) -> StorageError:
        """Somebody answers who is something else. `protocol` is what was expected."""
        return StorageError(
            Reason.SERVER_ERROR,
            f"{where}: {server} answers something else than {protocol} does: look at {self.endpoint or 'the uri'}, and "
            "at the server's own log",
        )


def breaks_off(where: str) -> StorageError:
    """The connection ends before the file does."""
    return StorageError(
        Reason.CORRUPT_DOWNLOAD,
        f"{where} breaks off, again and again: look at the limits of the server, or of the proxy before it",
        transient=True,
    )


def untrusted(where: str, variable: str, found: str = "") -> StorageError:
    """A certificate that nobody vouches for. `variable` names the file of authorities; `found` is what is wrong."""
    why = f" ({found})" if found else ""
    return StorageError(
        Reason.ENDPOINT_UNREACHABLE,
        f"{where}: the server's certificate isn't trusted{why}: set {variable} to the file of its authority, or "
        "correct the host's name",
    )


def server_error(where: str, answer: str, *, transient: bool = False) -> StorageError:
    """The server's own trouble, or what nobody understands. `answer`: its status, and its code if it gives one."""
    return StorageError(
        Reason.SERVER_ERROR,
        f"{where}: the server answers {answer}: run this again, and look at the server's own log if it goes on",
        transient=transient,
    )
