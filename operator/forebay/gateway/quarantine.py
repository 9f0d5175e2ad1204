"""One deployment's routes that Envoy refuses must not hold up all others', and Envoy doesn't say whose they are.

So what changed is tried by halves, until one is left: that one keeps the routes that it had.
"""

from forebay.gateway.snapshot import EntranceConfig, RouteTable, build_route_table


class Quarantine:
    """Which entrances are kept out of the route table."""

    def __init__(self) -> None:
        # Refused, with what Envoy said of it, until it changes.
        self._refused: dict[str, tuple[EntranceConfig, str]] = {}
        # Not in this try.
        self._held: frozenset[str] = frozenset()
        self._made: tuple[object, RouteTable] | None = None

    def find_error(self, name: str) -> str:
        """What Envoy has against an entrance."""
        return self._refused[name][1] if name in self._refused else ""

    def accept(self) -> None:
        """Envoy took the last table: half of the rest is tried."""
        held = sorted(self._held)
        self._held = frozenset(held[(len(held) + 1) // 2 :])

    def refuse(self, table: RouteTable, before: RouteTable | None, error: str) -> bool:
        """Envoy refused a table, and still has the one before. Says whether there is something else to try."""
        had = before.entrances if before else {}
        changed = sorted(name for name, config in table.entrances.items() if had.get(name) is not config)
        if len(changed) == 1:
            (name,) = changed
            self._refused[name] = (table.entrances[name], error)
            self.accept()
        self._held |= frozenset(changed[(len(changed) + 1) // 2 :])
        return bool(changed)

    def choose(self, wanted: RouteTable, before: RouteTable | None) -> RouteTable:
        """The table to send: without those that are refused or held, which keep what they had."""
        self._refused = {
            name: (config, error)
            for name, (config, error) in self._refused.items()
            if wanted.entrances.get(name) is config
        }
        kept_out = self._held | self._refused.keys()
        if not kept_out:
            return wanted
        key = (wanted, before, kept_out)
        if self._made is None or self._made[0] != key:
            had = before.entrances if before else {}
            chosen = {name: had.get(name) if name in kept_out else config for name, config in wanted.entrances.items()}
            entrances = {name: config for name, config in chosen.items() if config}
            unchanged = before is not None and before.entrances == entrances
            self._made = (key, before if before and unchanged else build_route_table(entrances))
        return self._made[1]
