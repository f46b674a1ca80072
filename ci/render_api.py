"""Write docs/API.md: every public name, from its signature and docstring, with its counterpart in Perl.

    python ci/render_api.py --write     bring the page up to date
    python ci/render_api.py             exit 1 if it is not

The meaning of a name is in its docstring and nowhere else. Only two things stand here: the meaning of constants and
type aliases (they have no docstring at run time), and the table of counterparts.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "API.md"

MODULES = (
    "jobwire",
    "jobwire.sync",
    "jobwire.rpc",
    "jobwire.wire",
    "jobwire.sereal",
    "jobwire.recovery",
    "jobwire.worker.retry",
    "jobwire.worker.hooks",
    "jobwire.metrics",
    "jobwire.tracing",
    "jobwire.testing.server",
    "jobwire.testing.scripted",
    "jobwire.testing.strategies",
    "jobwire.testing.plugin",
)

_CLIENT, _WORKER, _JOB = "Job::Async::Client::Redis", "Job::Async::Worker::Redis", "Job::Async::Job"
NOTHING = "none: an extension of jobwire"

COUNTERPARTS: Mapping[str, str] = {
    "jobwire.Call": NOTHING,
    "jobwire.Client.middleware": NOTHING,
    "jobwire.Submitting": NOTHING,
    "jobwire.Worker.health": NOTHING,
    "jobwire.Worker.middleware": NOTHING,
    "jobwire.Worker.on_error": "none: the Future that the handler returns fails",
    "jobwire.Worker.on_shutdown": NOTHING,
    "jobwire.Worker.on_startup": NOTHING,
    "jobwire.WorkerHealth": NOTHING,
    "jobwire.Client": f"`{_CLIENT}`",
    "jobwire.Client.attach": NOTHING,
    "jobwire.Client.id": "`id`",
    "jobwire.Client.on_queue_length": "`queue_length->each(…)`",
    "jobwire.Client.outstanding": "none: Perl keeps `pending_job`, which is private",
    "jobwire.Client.queue_length": "`queue_length`, a Ryu source",
    "jobwire.Client.results": "`Future->needs_all`, `Future::Utils::fmap`",
    "jobwire.Client.room": NOTHING,
    "jobwire.Client.start": "`start`",
    "jobwire.Client.state": NOTHING,
    "jobwire.Client.stop": "none: the object goes out of scope",
    "jobwire.Client.submit": "`submit`",
    "jobwire.Client.submit_many": "`submit`, many times",
    "jobwire.Job": f"`{_JOB}`",
    "jobwire.JobHandle": f"the Future (0.001 – 0.003) or `{_JOB}` (0.004) that `submit` returns",
    "jobwire.JobHandle.add_done_callback": "`future->on_ready`",
    "jobwire.JobHandle.cancel": "`future->cancel`, which leaves the job in Redis",
    "jobwire.JobHandle.id": "`id`",
    "jobwire.JobHandle.done": "`is_ready`",
    "jobwire.JobHandle.submitted": NOTHING,
    "jobwire.JobHandle.cancelled": "`is_cancelled`",
    "jobwire.JobHandle.exception": "`failure`",
    "jobwire.JobHandle.remove_done_callback": "nothing",
    "jobwire.JobState": NOTHING,
    "jobwire.Keyspace": "`prefixed_queue`",
    "jobwire.Limits": "none: Perl reads whatever comes",
    "jobwire.Trace": "none: Perl logs through Log::Any",
    "jobwire.TraceEvent": "none: Perl logs through Log::Any",
    "jobwire.Worker": f"`{_WORKER}`",
    "jobwire.Worker.counts": NOTHING,
    "jobwire.Worker.handler": "`jobs->each(sub { … })`",
    "jobwire.Worker.id": "`id`",
    "jobwire.Worker.route": "none: the sub given to `jobs->each` looks at `data`",
    "jobwire.Worker.run": "`trigger`, and `loop->run`",
    "jobwire.Worker.running": "`pending_jobs`",
    "jobwire.Worker.start": "`start` and `trigger`",
    "jobwire.Worker.stop": "`stop`",
    "jobwire.current_job": "none: the sub given to `jobs->each` gets the job as `$_`",
    "jobwire.rpc.RpcError": "the hash `error` with `code`, `message_to_client`, `details` that the proxy reads",
    "jobwire.rpc.Server": "the sub that a Perl RPC worker gives to `jobs->each`",
    "jobwire.rpc.call": "`Mojo::WebSocketProxy::Backend::JobAsync`, `call_rpc`",
    "jobwire.rpc.decode_reply": "`Mojo::WebSocketProxy::Backend`, `get_rpc_response_cb`",
    "jobwire.rpc.encode_call": "`Mojo::WebSocketProxy::Backend::JobAsync`, `call_rpc`",
    "jobwire.wire.channel": "`client::<id>` in `Client/Redis.pm` and `Worker/Redis.pm`",
    "jobwire.wire.decode_job": f"`{_JOB}`, `structured_data`",
    "jobwire.wire.decode_result": "`on_subscribed` in `Client/Redis.pm`",
    "jobwire.wire.encode_job": f"`{_JOB}`, `flattened_data`, `encode_keypair`",
    "jobwire.wire.encode_result": "`on_job_received` in `Worker/Redis.pm`",
    "jobwire.wire.job_key": "`job::<id>` in `Client/Redis.pm` and `Worker/Redis.pm`",
    "jobwire.wire.new_id": "`Job::Async::Utils::uuid`",
    "jobwire.wire.Dialect": "the releases of Job::Async::Redis",
    "jobwire.wire.Recoverable": "documented in `Redis.pm`, never implemented in Perl",
    "jobwire.wire.Reliable": f"what `{_CLIENT}` and `{_WORKER}` do",
    "jobwire.wire.Simple": "documented in `Redis.pm`, never implemented in Perl",
    "jobwire.sereal.dumps": "`Sereal::Encoder`, `encode`",
    "jobwire.sereal.loads": "`Sereal::Decoder`, `decode`",
    "jobwire.sereal.PerlObject": "a blessed reference",
    "jobwire.sereal.PerlRegexp": "`qr//`",
    "jobwire.sereal.ScalarRef": "a reference to a scalar",
}
"""The counterparts in Perl. A name that is not here has none of its own."""

MEANINGS: Mapping[str, str] = {
    "jobwire.__version__": "The version of the package.",
    "jobwire.Trace": (
        "`Callable[[TraceEvent], object]`: what the option `trace` takes. Called in the event loop, so it must not "
        "block; what it raises is logged and otherwise ignored."
    ),
    "jobwire.rpc.BusinessErrors": (
        "`both`: an `RpcError` of a method stands at the top of the reply and in `result`; `result`: in `result` alone."
    ),
    "jobwire.worker.hooks.ErrorHook": "`Callable[[Call, BaseException], object]`: what `Worker.on_error` takes.",
    "jobwire.worker.hooks.LifeHook": "`Callable[[], object]`: what `on_startup` and `on_shutdown` take.",
    "jobwire.worker.hooks.Middleware": "`Callable[[Call, Proceed], Awaitable]`: what `Worker.middleware` takes.",
    "jobwire.worker.hooks.Proceed": "`Callable[[], Awaitable]`: calls the next middleware, the last one the handler.",
    "jobwire.worker.retry.Decide": "`Callable[[Job, Failure], Decision]`: a function that `on_failure` takes.",
    "jobwire.worker.retry.Decision": "`Complete | Requeue | Bury`: the answer to a failed job.",
    "jobwire.worker.retry.OnFailure": '`"leave" | "retry" | "reply" | Decide`: the option `on_failure`.',
    "jobwire.testing.scripted.Handler": "A function from a command to its `Outcome`.",
    "jobwire.testing.scripted.LOST": "An `Outcome`: the connection is lost instead of an answer.",
    "jobwire.testing.scripted.SILENT": "An `Outcome`: no answer, as of a blocking pop.",
    "jobwire.testing.scripted.Outcome": "A reply, an error, `LOST` or `SILENT`.",
    "jobwire.wire.Command": "`tuple[bytes, ...]`: a Redis command as plain data, its name first.",
    "jobwire.wire.Reply": "`bytes | int | list[Reply] | ServerError | None`: a reply; errors are values.",
    "jobwire.wire.Result": "`Success | Failure`: how a job ended.",
    "jobwire.wire.Text": "`str | bytes`: `str` goes out as UTF-8; what comes in is `str` where it is valid UTF-8.",
    "jobwire.wire.DEFAULT_DIALECT": "The `Dialect` of 0.004, the last release on CPAN.",
    "jobwire.wire.DEFAULT_LIMITS": "The `Limits` that decoders use unless told otherwise.",
    "jobwire.wire.DIALECTS": "Every `Dialect` by name, oldest first.",
    "jobwire.wire.LIFECYCLE": "The life of a job as a table of transitions (docs/PROTOCOL.md draws it).",
    "jobwire.wire.MODES": "The classes of the three modes by name: `simple`, `recoverable`, `reliable`.",
    "jobwire.sereal.DEFAULT_LIMITS": "See `jobwire.wire.DEFAULT_LIMITS`.",
    "jobwire.sereal.Compression": "The names of the compressions that `dumps` writes.",
    "jobwire.sereal.StringPolicy": (
        "How bytes that may be text are read: `auto` (valid UTF-8 is `str`, else `bytes`), `exact` (ASCII is `str`, "
        "else `bytes`), `latin-1` (always `str`, one character a byte, which is what Perl sees), `utf-8` (always "
        "`str`, an error where it is not), `bytes`."
    ),
    "jobwire.testing.server.START_TIMEOUT": "Seconds that a server may take to answer.",
    "jobwire.testing.plugin.redis_server": "Fixture: the server of this test run.",
    "jobwire.testing.plugin.redis_url": "Fixture: its URL, the database emptied before the test.",
}
"""The meaning of names without a docstring of their own."""

INTRODUCTION = """\
# API

Every public name, with its types, units, errors and its counterpart in Perl. The page is written from the signatures
and docstrings by `ci/render_api.py`, and a test holds it up to date.

Units: times are seconds, moments are epoch seconds, sizes are bytes, unless something else is said. Names and IDs are
`Text`: `str`, or `bytes` that are no UTF-8. Everything that jobwire raises is a `JobwireError`; what a call can raise
is said beside it, and what each error means below `jobwire.errors`.

The error tree:

"""


def public(module: ModuleType) -> list[str]:
    """Return the names that a module offers, in the order of the page: classes, functions, the rest."""
    rank = {"class": 0, "function": 1, "value": 2}
    return sorted(module.__all__, key=lambda name: (rank[kind_of(getattr(module, name))], name.lower()))


def kind_of(value: object) -> str:
    if inspect.isclass(value):
        return "class"
    return "function" if inspect.isroutine(value) else "value"


def methods_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class, or a public base of ours, defines."""
    seen: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("jobwire"):  # a base that is not public has public methods all the same
            seen |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    for name, value in sorted(seen.items()):
        if isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value):
            yield name, value


@cache
def exported() -> frozenset[object]:
    """Return the classes that stand on the page."""
    modules = map(importlib.import_module, MODULES)
    return frozenset(
        value
        for module in modules
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) and value.__module__.startswith("jobwire")
    )


# -- one name


def section(module_name: str, name: str) -> Iterator[str]:
    value = getattr(importlib.import_module(module_name), name)
    path = f"{module_name}.{name}"
    yield f"### `{name}`\n"
    if documented_elsewhere(module_name, name, value):
        yield f"The same as [`jobwire.{name}`](#{name.lower()}).\n"
        return
    if kind_of(value) == "value" or path in MEANINGS:
        yield MEANINGS[path] + "\n"
    elif inspect.isclass(value):
        yield from class_section(path, name, value)
    else:
        yield from code(f"{'async ' if inspect.iscoroutinefunction(value) else ''}{name}{signature(value)}")
        yield prose(value)
    if not inspect.isclass(value):
        yield from in_perl(path)


def in_perl(path: str) -> Iterator[str]:
    counterpart = COUNTERPARTS.get(path)
    if counterpart is not None:
        yield f"*In Perl:* {counterpart}.\n"


def documented_elsewhere(module_name: str, name: str, value: object) -> bool:
    """Return whether this is the very object that stands under ``jobwire`` already."""
    import jobwire

    return module_name != "jobwire" and name in jobwire.__all__ and getattr(jobwire, name) is value


def class_section(path: str, name: str, kind: type) -> Iterator[str]:
    ours = [base for base in kind.__bases__ if base.__module__.startswith("jobwire")]
    bases = [
        base.__name__ for base in kind.__bases__ if base is not object and (base not in ours or base in exported())
    ]
    yield from code(f"class {name}({', '.join(bases)})" if bases else f"class {name}")
    yield prose(kind)
    yield from in_perl(path)
    fields = fields_of(kind)
    if fields:
        yield from code("\n".join(fields))
    elif "__init__" in vars(kind):
        yield from code(f"{name}{signature(kind.__init__, skip=1)}")  # type: ignore[misc]  # of this very class
    for method, value in methods_of(kind):
        yield from method_section(path, method, value)


def method_section(path: str, name: str, value: Any) -> Iterator[str]:
    if isinstance(value, property):
        returned = annotation(inspect.signature(value.fget).return_annotation) if value.fget else "Any"
        yield f"#### `.{name}`: `{returned}`\n"
        yield prose(value)
    else:
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        yield f"#### `.{name}`\n"
        soon = inspect.iscoroutinefunction(function)
        yield from code(f"{'async ' if soon else ''}{name}{signature(function, skip=1)}")
        yield prose(function)
    yield from in_perl(f"{path}.{name}")


def fields_of(kind: type) -> list[str]:
    """Return the fields of a Struct, dataclass or NamedTuple, one a line."""
    if issubclass(kind, msgspec.Struct):
        names: tuple[str, ...] = kind.__struct_fields__
    elif hasattr(kind, "__dataclass_fields__"):
        names = tuple(kind.__dataclass_fields__)
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    else:
        return []
    parameters = inspect.signature(kind).parameters
    return [str_parameter(parameters[name]) for name in names if name in parameters]


# -- signatures


def signature(function: Callable[..., Any], *, skip: int = 0) -> str:
    """Return the signature, one parameter a line where it is long."""
    found = inspect.signature(function)
    parts = marked(list(found.parameters.values())[skip:])
    returned = (
        "" if found.return_annotation is inspect.Signature.empty else f" -> {annotation(found.return_annotation)}"
    )
    short = f"({', '.join(parts)}){returned}"
    if len(short) <= 90:
        return short
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"


def marked(parameters: list[inspect.Parameter]) -> list[str]:
    """Return the parameters, with ``/`` and ``*`` where they belong."""
    parts: list[str] = []
    for number, parameter in enumerate(parameters):
        before = parameters[number - 1].kind if number else None
        if parameter.kind is parameter.KEYWORD_ONLY and before not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            parts.append("*")
        parts.append(str_parameter(parameter))
        last = number + 1 == len(parameters) or parameters[number + 1].kind is not parameter.POSITIONAL_ONLY
        if parameter.kind is parameter.POSITIONAL_ONLY and last:
            parts.append("/")
    return parts


def str_parameter(parameter: inspect.Parameter) -> str:
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {default(parameter.default)}"
    return text


def annotation(value: object) -> str:
    if get_origin(value) in {Union, UnionType}:  # before Python 3.14 two kinds, printed in two ways
        return " | ".join("None" if part is NoneType else annotation(part) for part in get_args(value))
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    return re.sub(r"\b(?:jobwire|typing|collections\.abc|hypothesis)(?:\.\w+)*\.(?=[A-Z])", "", text)


def default(value: object) -> str:
    if isinstance(value, msgspec.Struct) and hasattr(value, "name"):
        return f'"{value.name}"'
    text = repr(value)
    named = {"Limits(": "DEFAULT_LIMITS", "<factory>": "…", "NODEFAULT": "…"}
    return next((name for start, name in named.items() if start in text), text.replace("'", '"'))


# -- docstrings


# ``name``  meaning; or several names and one blank at the least.
_ENTRY = re.compile(r"(?P<names>``[^`]+``(?=  )|``[^`]+``(?:, ``[^`]+``)+) +(?P<meaning>\S.*)")


def prose(value: object) -> str:
    """Return a docstring as Markdown: indented blocks become code, ``name`` tables become lists."""
    out: list[str] = []
    for line in (inspect.getdoc(value) or "").splitlines():
        entry = _ENTRY.match(line)
        if entry is not None:
            out.append(f"- {entry['names']}: {entry['meaning']}")
        elif line.startswith("  ") and out and out[-1].startswith("- "):
            out[-1] += " " + line.strip()
        else:
            out.append(line)
    text = "\n".join(out)
    text = re.sub(r"(?:^|(?<=\n))(.*?):?:\n\n((?:    .*\n?|\n)+)", fenced, text)
    return text.replace("``", "`") + "\n"


def fenced(match: re.Match[str]) -> str:
    lead = f"{match[1]}:\n\n" if match[1] else ""
    body = "\n".join(line[4:] for line in match[2].rstrip().splitlines())
    return f"{lead}```python\n{body}\n```\n\n"


def code(text: str) -> Iterator[str]:
    yield f"```python\n{text}\n```\n"


# -- the page


def rendered() -> str:
    errors = importlib.import_module("jobwire.errors")
    tree = re.search(r"JobwireError\n(?:[ ├└│─].*\n)+", errors.__doc__ or "")
    lines = tree[0].splitlines() if tree else []
    parts = [INTRODUCTION, "```text\n", "\n".join(line.removeprefix("    ") for line in lines), "\n```\n"]
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        parts.append(f"\n## {module_name}\n\n{prose(module)}\n")
        for name in public(module):
            parts += [f"{part}\n" for part in section(module_name, name)]
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="bring the page up to date")
    fresh = rendered()
    if parser.parse_args().write:
        PAGE.write_text(fresh, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == fresh:
        return 0
    print("docs/API.md is out of date: run  python ci/render_api.py --write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
