"""One kind of resource in a conversation with Envoy: what it asks for, has, is being sent, and has refused."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from forebay.gateway.snapshot import Piece

Content = TypeVar("Content", bound=Piece)


class Subscription(Generic[Content]):
    """One response at a time is on its way: `sent` is what is in it, and `acked` what Envoy has."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        # Versions that it has from an earlier stream, of what isn't known in `acked`.
        self.known: dict[str, str] = {}
        self.acked: dict[str, Content] = {}
        self.sent: dict[str, Content] = {}
        self.nonce = ""
        self.waiting = False
        # Where there was nothing to send when it was looked at last; None when it must be looked at again.
        self._seen: Mapping[str, Piece] | None = None
        self._gone: frozenset[str] = frozenset()
        self._refused: dict[str, Content] = {}
        self._subscribed = False

    @property
    def free(self) -> bool:
        """Whether something can be sent."""
        return self._subscribed and not self.waiting

    def subscribe(self, names: Iterable[str], known: Mapping[str, str]) -> None:
        """Envoy asks for `names`, and has the versions of `known`. What it asks for again it waits for."""
        self._subscribed, self._seen = True, None
        self.names |= set(names)
        self.forget(set(names) - known.keys())
        self.known |= known

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Envoy forgets `names`."""
        self.names -= set(names)
        self.forget(names)

    def forget(self, names: Iterable[str]) -> None:
        """Send these anew, also if they don't change."""
        self._seen = None
        for name in names:
            self.known.pop(name, None)
            self.acked.pop(name, None)
            self.sent.pop(name, None)

    def has_seen(self, source: Mapping[str, Piece]) -> bool:
        """Whether all of these were with Envoy already when they were looked at last, and nothing came since."""
        return self._seen is source

    def adopt(self, wanted: Mapping[str, Content]) -> dict[str, Content]:
        """What is wanted, and Envoy has, in this stream or from an earlier one, needs no sending. Returns the rest."""
        # Nearly all are the same object: this is all that is done for most of a thousand, several times a change.
        acked = self.acked
        rest = {name: piece for name, piece in wanted.items() if acked.get(name) is not piece}
        for name, piece in list(rest.items()):
            had = acked.get(name)
            if piece.version == (had.version if had else self.known.get(name)):
                self.known.pop(name, None)
                acked[name] = rest.pop(name)
        return rest

    def find_changes(self, wanted: Mapping[str, Content], source: Mapping[str, Content]) -> dict[str, Content]:
        """What Envoy doesn't have, and has not refused, of what was taken from `source`."""
        if self.has_seen(source):
            return {}
        changes = {
            name: piece
            for name, piece in self.adopt(wanted).items()
            if not (name in self._refused and self._refused[name].version == piece.version)
        }
        self._seen = None if changes else source
        return changes

    def find_strangers(self, wanted: Mapping[str, Content]) -> frozenset[str]:
        """What Envoy has, and isn't wanted."""
        return frozenset((self.acked.keys() | self.known.keys()) - wanted.keys())

    def send(self, changed: Mapping[str, Content], gone: frozenset[str]) -> str:
        """Note what is on its way, and answer its nonce."""
        self.sent, self._gone, self.waiting = dict(changed), gone, True
        self.nonce = str(int(self.nonce or 0) + 1)
        return self.nonce

    def accept(self) -> None:
        """Envoy took what was sent."""
        for name in (*self.sent, *self._gone):
            self.known.pop(name, None)
            self.acked.pop(name, None)
            self._refused.pop(name, None)
        self.acked |= self.sent
        self.withdraw()

    def refuse(self) -> None:
        """Envoy refused what was sent, which is not sent again."""
        self._refused |= self.sent
        self.withdraw()

    def withdraw(self) -> None:
        """Nothing is on its way."""
        self._seen = None
        self.sent, self._gone, self.waiting = {}, frozenset(), False
