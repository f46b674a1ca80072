"""The codec beside the code it must agree with: ``Job::Async::Job`` and ``JSON::MaybeUTF8`` themselves.

No server and no event loop: one Perl process a test, hashes in, hashes out.
"""

from __future__ import annotations

import functools
import subprocess
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jobwire.errors import JobDecodeError
from jobwire.wire import Success, decode_job, decode_result, encode_job, encode_result
from jobwire.wire.codec.extensions import RESERVED
from tests.support.perl_peer import environment

pytestmark = pytest.mark.perl

# Each example starts a process and holds hundreds of cases: few of them, and no long search for a smaller one.
ONCE = settings(max_examples=8, deadline=None, phases=[Phase.generate])

HASHES = r"""
use strict; use warnings; use Job::Async::Job;
while (my $line = <STDIN>) {
    chomp $line;
    my %hash = map { map { pack 'H*', $_ } split /:/, $_, 2 } split /,/, $line;
    delete $hash{result};
    my $out = eval {
        my $data = Job::Async::Job->structured_data(\%hash);
        my %again = $ENV{THROUGH}
            ? %{ Job::Async::Job->flattened_data({ map { $_ => $data->{$_} } grep { !exists $hash{$_} } keys %$data }) }
            : %$data;
        join ',', map { join ':', map { unpack 'H*', $_ } $_, $again{$_} } sort keys %again;
    };
    print defined $out ? "=$out\n" : "died\n";
}
"""

JSON = r"""
use strict; use warnings; use JSON::MaybeUTF8 qw(:v1);
while (my $line = <STDIN>) {
    chomp $line;
    my $out = eval { encode_json_utf8(decode_json_utf8(pack 'H*', $line)) };
    print defined $out ? '=' . unpack('H*', $out) . "\n" : "died\n";
}
"""


@functools.cache
def perl_has(module: str) -> bool:
    try:
        probe = ["perl", f"-M{module}", "-e1"]
        return subprocess.run(probe, capture_output=True, env=environment("0.004"), check=False).returncode == 0
    except FileNotFoundError:
        return False


def needs(module: str) -> None:
    if not perl_has(module):
        pytest.skip(f"PERL MISSING: perl with {module} is not here, so the codec was not compared with it")


def perl(program: str, lines: list[str], **more: str) -> list[str]:
    done = subprocess.run(
        ["perl", "-e", program],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
        env={**environment("0.004"), **more},
    )
    return done.stdout.splitlines()


def as_line(fields: dict[bytes, bytes]) -> str:
    return ",".join(f"{name.hex()}:{value.hex()}" for name, value in fields.items())


def as_fields(line: str) -> dict[bytes, bytes]:
    pairs = (pair.split(":", 1) for pair in line.removeprefix("=").split(",") if pair)
    return {bytes.fromhex(name): bytes.fromhex(value) for name, value in pairs}


names = st.one_of(
    st.binary(max_size=6),
    st.builds(
        lambda kind, name: kind + name,
        st.sampled_from([b"text_", b"text_", b"text", b"texts_", b"Text_", b"_", b"result", b"\ntext_"]),
        st.binary(max_size=3) | st.sampled_from([b"\n", b"a\n", b"\n\n", b"\na"]),
    ),
)


@ONCE
@given(st.lists(st.dictionaries(names, st.binary(max_size=4), max_size=2), min_size=300, max_size=300))
def test_field_names_are_read_as_perl_reads_them(hashes: list[dict[bytes, bytes]]) -> None:
    needs("Job::Async::Job")
    for fields, said in zip(hashes, perl(HASHES, [as_line(fields) for fields in hashes]), strict=True):
        if said == "died":
            with pytest.raises(JobDecodeError):
                decode_job("id", fields, strings="bytes")
        elif b"text_" in {name[:5] for name in fields} and len({name.removesuffix(b"\n") for name in fields}) < len(
            fields
        ):
            # Two fields that are one parameter: Perl takes one at random.
            with pytest.raises(JobDecodeError, match="two types"):
                decode_job("id", fields, strings="bytes")
        else:
            meta = {name: value for name, value in fields.items() if name.startswith(b"_")}
            assert {**decode_job("id", fields, strings="bytes").data, **meta} == as_fields(said)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalars = text | st.binary(max_size=5).map(lambda raw: raw.decode() if raw.isascii() else raw + b"\xff")
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | scalars
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)
parameter_names = text.filter(lambda name: "\n" not in name and name.encode() not in RESERVED)


@ONCE
@given(
    st.lists(
        st.dictionaries(parameter_names, scalars | st.lists(trees, max_size=3), max_size=3), min_size=100, max_size=100
    )
)
def test_jobs_come_back_from_real_perl_as_they_went(jobs: list[dict[str, Any]]) -> None:
    needs("Job::Async::Job")
    sent = [encode_job(data, reply_to="c") for data in jobs]
    for data, said in zip(jobs, perl(HASHES, [as_line(fields) for fields in sent], THROUGH="1"), strict=True):
        assert decode_job("id", as_fields(said)).data == data


json_leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | text
json_trees = st.recursive(
    json_leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)


json_documents = st.lists(json_trees, max_size=3) | st.dictionaries(text, json_trees, max_size=3)


@ONCE
@given(st.lists(json_documents, min_size=30, max_size=30))
def test_results_come_back_from_real_perl_as_they_went(values: list[Any]) -> None:
    needs("JSON::MaybeUTF8")
    documents = [encode_result(value)[1:].hex() for value in values]
    for value, said in zip(values, perl(JSON, documents), strict=True):
        assert decode_result(b"J" + bytes.fromhex(said.removeprefix("="))) == Success(value)


def test_perl_reads_512_levels_and_no_more() -> None:
    needs("JSON::MaybeUTF8")
    deep = b"[" * 512 + b"]" * 512
    assert perl(JSON, [deep.hex(), (b"[" + deep + b"]").hex()]) == [f"={deep.hex()}", "died"]


def test_perl_dies_of_the_json_that_is_refused_here() -> None:
    needs("JSON::MaybeUTF8")
    for document in (b"1", b'"text"', b"null", b"", b"{", b'{"a":1,"a":2}', b"[NaN]"):
        with pytest.raises(JobDecodeError):
            decode_job("id", {b"json_v": document})
        assert perl(JSON, [document.hex()]) == ["died"]
