"""`jobwire top` on a terminal: tables that fit it, drawn by rich (extra ``top``)."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from jobwire.cli.common import bare
from jobwire.cli.jobs import Listed, described, duration
from jobwire.wire.states import PrefixState
from jobwire.wire.text import Text, wire_bytes
from jobwire.wire.workers import Host

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["Screen", "screen_of_rich"]


class Look(Protocol):
    """The figures shown: see ``jobwire.cli.top.Overview``."""

    @property
    def at(self) -> float: ...
    @property
    def prefixes(self) -> tuple[PrefixState, ...]: ...
    @property
    def ages(self) -> tuple[dict[Text, float], ...]: ...
    @property
    def hosts(self) -> tuple[dict[Text, Host], ...]: ...
    @property
    def searched(self) -> bool: ...


def screen_of_rich() -> Screen | None:
    """None where rich is not installed: then the lines of text are printed again and again."""
    try:
        import rich.live  # noqa: F401 - looked for
    except ModuleNotFoundError:
        return None
    return Screen()


class Screen:
    """The whole terminal, for as long as the context lasts; it is as it was afterwards."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="ellipsis")
        self._lengths: dict[tuple[Text, Text], tuple[float, int]] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, look: Look, running: dict[Text, list[Listed]]) -> None:
        """Draw one look."""
        from rich.console import Group
        from rich.text import Text as Words

        when = time.strftime("%H:%M:%S", time.localtime(look.at))
        head = Words(f"jobwire top  {when}  (Ctrl-C ends it)", style="dim")
        parts: list[RenderableType] = [head]
        if not look.searched:
            parts.append(Words("too many keys to look for all names: --prefix and --queue name further ones", "yellow"))
        if not look.prefixes:
            parts.append(Words("no queues, no workers"))
        for state, ages, hosts in zip(look.prefixes, look.ages, look.hosts, strict=True):
            parts += self._prefix(state, ages, hosts, running.get(state.prefix, []), look.at)
        self._live.update(Group(*parts), refresh=True)

    def _prefix(
        self, state: PrefixState, ages: dict[Text, float], hosts: dict[Text, Host], running: list[Listed], at: float
    ) -> list[RenderableType]:
        from rich.text import Text as Words

        title = Words(f"\n{bare(state.prefix) if state.prefix else '(no prefix)'}", style="bold")
        for what, count, style in (("dead", state.dead, "red"), ("rejected", state.rejected, "yellow")):
            title.append(f"   {count} {what}", style if count else "dim")
        if state.attempts:
            title.append(f"   {state.attempts} with lost workers", "yellow")
        parts: list[RenderableType] = [title, self._queues(state, ages, at), _workers(state, hosts)]
        if running:
            parts.append(_jobs(running))
        return parts

    def _queues(self, state: PrefixState, ages: dict[Text, float], at: float) -> Table:
        table = _table("queue", ">waiting", ">a second", ">next waits since")
        for queue in state.queues:
            age = ages.get(queue.name)
            table.add_row(
                *_cells(
                    bare(queue.name),
                    str(queue.length),
                    self._rate(state.prefix, queue.name, queue.length, at),
                    "" if age is None else duration(age),
                )
            )
        if not state.queues:
            table.add_row(*_cells("(all empty)", "0", "", ""))
        return table

    def _rate(self, prefix: Text, queue: Text, length: int, at: float) -> str:
        """How fast the queue grows or shrinks, since the last look."""
        before = self._lengths.get((prefix, queue))
        self._lengths[prefix, queue] = (at, length)
        if before is None or at <= before[0]:
            return ""
        rate = (length - before[1]) / (at - before[0])
        return f"{rate:+.1f}" if rate else "0"


def _workers(state: PrefixState, hosts: dict[Text, Host]) -> Table:
    table = _table("worker", "where", ">jobs", "sign of life")
    beats = {worker.id: worker.heartbeat for worker in state.workers}
    lengths = {own.worker: own.length for own in state.own}
    for worker in sorted({*beats, *lengths}, key=wire_bytes):
        host, beat = hosts.get(worker), beats.get(worker)
        row = _cells(
            bare(worker, at_most=36),
            "" if host is None else f"{bare(host.host)}:{host.pid}",
            str(lengths.get(worker, 0)),
            "none" if beat is None else f"{beat:.0f} s left",
        )
        table.add_row(*row, style="red" if beat is None else None)
    table.add_row(*_cells("Perl's, without a name", "", str(state.processing), ""), style="dim")
    return table


def _jobs(running: list[Listed]) -> Table:
    table = _table("job", ">age", "where", "parameters")
    for job in running:
        age = "" if job.age is None else duration(job.age)
        where = job.host or ("" if job.worker is None else bare(job.worker, at_most=12))
        table.add_row(*_cells(bare(job.id, at_most=36), age, where, described(job)))
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.removeprefix(">"), justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def _cells(*texts: str) -> list[Any]:
    """As text: nothing from Redis is markup."""
    from rich.text import Text as Words

    return [Words(text) for text in texts]
