"""hypothesis strategies for data on the wire: job data, IDs, results, hashes of each dialect.

::

    from hypothesis import given
    from jobwire.testing.strategies import job_data

    @given(job_data())
    def test_our_handler(data): ...

They make values that jobwire promises to carry: ``decode(encode(value))`` is ``value`` (read with the default string
policy), so text has no lone surrogates, and bytes are never valid UTF-8 (those come back as text). Needs hypothesis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy as Strategy

from jobwire.wire import DEFAULT_DIALECT, DIALECTS, Dialect, Failure, Result, Success, encode_failure, encode_job
from jobwire.wire.codec.extensions import RESERVED
from jobwire.wire.codec.ids import new_id
from jobwire.wire.codec.results import encode_result
from jobwire.wire.text import Text

__all__ = [
    "dialects",
    "failures",
    "foreign_bytes",
    "ids",
    "job_data",
    "job_hashes",
    "json_values",
    "parameter_names",
    "result_fields",
    "results",
    "scalars",
    "texts",
    "values",
]

_INTEGERS = st.integers(-(2**63), 2**64 - 1)
_DOUBLES = st.floats(allow_nan=False, allow_infinity=False)


def texts(*, max_size: int | None = None) -> Strategy[str]:
    """Any text that has a UTF-8 form."""
    return st.text(st.characters(codec="utf-8"), max_size=max_size)


def foreign_bytes() -> Strategy[bytes]:
    """Bytes that are not valid UTF-8."""
    return st.binary(min_size=1).filter(_is_foreign)


def _is_foreign(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def ids(*, raw: bool = True) -> Strategy[Text]:
    """Job, client and worker IDs: UUIDs as we make them, any text, and (``raw``) bytes that are no text.

    Never the two that Perl takes for false.
    """
    made = st.builds(new_id)
    any_text = texts(max_size=60).filter(lambda text: text not in ("", "0"))
    return st.one_of(made, any_text, foreign_bytes()) if raw else st.one_of(made, any_text)


def scalars() -> Strategy[Any]:
    """None, booleans, integers of 64 bits, doubles, text, bytes."""
    return st.one_of(st.none(), st.booleans(), _INTEGERS, _DOUBLES, texts(), foreign_bytes())


def values(*, max_leaves: int = 20) -> Strategy[Any]:
    """Any value that a parameter may have: scalars, lists, mappings with text keys, nested."""
    return st.recursive(
        scalars(),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts(max_size=20), inner)),
        max_leaves=max_leaves,
    )


def json_values(*, max_leaves: int = 20) -> Strategy[Any]:
    """Any value that JSON says exactly: as ``values``, without bytes."""
    plain = st.one_of(st.none(), st.booleans(), _INTEGERS, _DOUBLES, texts())
    return st.recursive(
        plain,
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts(max_size=20), inner)),
        max_leaves=max_leaves,
    )


def parameter_names() -> Strategy[str]:
    """Names that every dialect carries: no newline, not reserved, none that a dialect reads as something else."""
    return texts(max_size=20).filter(_is_good_name)


def _is_good_name(name: str) -> bool:
    taken = name.encode() in RESERVED or name == "result"
    return not taken and "\n" not in name and not name.startswith(("_", "text_", "sereal_", "json_"))


def job_data(dialect: str | Dialect = DEFAULT_DIALECT, *, max_size: int = 6) -> Strategy[dict[str, Any]]:
    """Return the parameters of jobs.

    Of dialects with typed fields: values of any kind, where a number of a text field comes back as the text that Perl
    prints (``jobwire.wire.text.perl_number``); so numbers stand inside containers alone. Of dialects without: text.
    """
    known = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    if not known.typed_fields:
        return st.dictionaries(parameter_names(), st.one_of(texts(), foreign_bytes()), max_size=max_size)
    containers = st.one_of(st.lists(values()), st.dictionaries(texts(max_size=20), values()))
    whole = st.one_of(st.none(), st.booleans(), texts(), foreign_bytes(), containers)
    return st.dictionaries(parameter_names(), whole, max_size=max_size)


def dialects() -> Strategy[Dialect]:
    """Return every dialect."""
    return st.sampled_from(list(DIALECTS.values()))


@st.composite
def job_hashes(
    draw: st.DrawFn, dialect: str | Dialect = DEFAULT_DIALECT, *, meta: Mapping[Text, Text] | None = None
) -> tuple[dict[str, Any], dict[bytes, bytes]]:
    """Parameters, and the job's hash as a client of that dialect writes it: ``(data, fields)``."""
    known = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    data = draw(job_data(known))
    queued = draw(st.floats(1e9, 4e9))
    return data, encode_job(data, reply_to=draw(ids()), queued=queued, dialect=known, meta=meta)


def failures() -> Strategy[Failure]:
    """Return failures, as a worker reports them."""
    return st.builds(Failure, type=texts(max_size=30), message=texts(), traceback=st.none() | texts())


def results() -> Strategy[Result]:
    """Results that come back as they are: text, bytes, JSON containers; failures."""
    containers = st.one_of(st.lists(json_values()), st.dictionaries(texts(max_size=20), json_values()))
    return st.one_of(st.builds(Success, st.one_of(texts(), foreign_bytes(), containers)), failures())


@st.composite
def result_fields(draw: st.DrawFn, *, only_perl: bool = False) -> tuple[Result, bytes]:
    """Return results, each with its field ``result``: ``(result, raw)``; ``only_perl`` leaves out the tag ``E``."""
    result = draw(results().filter(lambda result: isinstance(result, Success)) if only_perl else results())
    if isinstance(result, Failure):
        return result, encode_failure(result)
    return result, encode_result(result.value)
