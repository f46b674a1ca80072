"""Options that client and worker share: checked once, with one clear error each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final, get_args

from jobwire.errors import ConfigError
from jobwire.limits import Limits
from jobwire.sereal.values import StringPolicy, string_reader
from jobwire.transport import Backoff
from jobwire.wire import MODES, Mode, dialect_named
from jobwire.wire.codec.dialects import DEFAULT_DIALECT, Dialect
from jobwire.wire.codec.fields import Nested
from jobwire.wire.codec.typed import Converter, converter
from jobwire.wire.keys import PROCESSING
from jobwire.wire.modes import CLUSTER_MODES
from jobwire.wire.modes.base import check_prefix, refuse_queues
from jobwire.wire.text import Text

__all__ = ["UNSET", "Unset", "at_least", "backoff_of", "build_mode", "queue_keys", "result_converter"]

AUTO = "auto"


@final
class Unset:
    """The type of ``UNSET``: an option that was not given, where None means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


def at_least(name: str, value: float | None, minimum: float, *, unit: str = "seconds") -> None:
    """Raise ``ConfigError`` where an option is below its minimum; None passes."""
    if value is not None and not value >= minimum:
        raise ConfigError(f"{name} is {value!r}; it must be at least {minimum:g} {unit}")


def build_mode(
    mode: str,
    *,
    dialect: str | Dialect,
    prefix: Text,
    use_multi: bool,
    strings: StringPolicy,
    limits: Limits,
    nested: Nested = "sereal",
    owner: Text | None = None,
    processing_queue: Text | None = PROCESSING,
    queues: int = 1,
    spread: bool = False,
) -> Mode:
    """Return the mode called ``mode``; raises ``ConfigError`` for one that there is not, and for the other options.

    ``processing_queue=None`` with an ``owner`` gives the owner a processing list of its own, in ``recoverable`` if it
    takes from one queue; ``spread`` is for a
    transport whose keys live on several servers.
    """
    kind = (CLUSTER_MODES if spread else MODES).get(mode)
    if kind is None:
        raise ConfigError(f"unknown mode {mode!r}; there are {', '.join(MODES)}")
    if nested not in get_args(Nested):
        raise ConfigError(f"unknown form of nested values {nested!r}; there are {', '.join(get_args(Nested))}")
    known = None if dialect == AUTO else dialect_named(dialect)
    try:
        string_reader(strings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    keyspace = (known or DEFAULT_DIALECT).keyspace(prefix)
    if spread:
        check_prefix(keyspace)
        if use_multi:
            raise ConfigError("use_multi cannot work on a cluster: a transaction cannot span several nodes")
    return kind.for_worker(
        keyspace,
        owner=owner,
        processing_queue=processing_queue,
        queues=queues,
        dialect=known,
        use_multi=use_multi,
        strings=strings,
        limits=limits,
        nested=nested,
    )


def result_converter(result_type: Any, *, strict: bool) -> Converter | None:
    """Return the converter for a type, None for None. Raises ``ConfigError`` for a type that no result can become."""
    try:
        return None if result_type is None else converter(result_type, strict=strict)
    except TypeError as error:
        raise ConfigError(f"no result can become a {result_type!r}: {error}") from None


def backoff_of(reconnect_delay: float) -> Backoff:
    """Return delays that begin with Perl's ``reconnect_delay`` (seconds) on average, and grow to thirty times that."""
    at_least("reconnect_delay", reconnect_delay, 0.001)
    return Backoff(2 * reconnect_delay, 60 * reconnect_delay)


def queue_keys(mode: Mode, names: Sequence[Text]) -> tuple[bytes, ...]:
    """Return the whole keys of a worker's queues; raises ``ConfigError``."""
    if isinstance(names, str | bytes):
        raise ConfigError(f"pending_queues is a list of names, not {names!r}")
    if not names or not all(names):
        raise ConfigError("pending_queues needs at least one name, and no empty one")
    if len(names) > 1 and not mode.many_queues:
        raise refuse_queues(mode.name)
    return tuple(mode.keyspace.queue(name) for name in names)
