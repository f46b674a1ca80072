"""Names and messages of container peers and servers, where no engine is needed."""

from __future__ import annotations

import pytest

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.peers.container_peers import perl_image
from jobwire_conformance.peers.containers import ContainerFault, engine
from jobwire_conformance.peers.registry import MissingPeer, UsageFault, resolve
from jobwire_conformance.peers.servers import make_factory
from jobwire_conformance.run.axes import Instance
from jobwire_conformance.run.expected import Entry


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/engine.sock")
    perl_image.cache_clear()


def test_docker_alone_means_the_first_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBWIRE_REDIS_IMAGES", "first:1 second:2")
    assert make_factory("docker").origin == "container first:1"
    assert make_factory("docker:redis:7.4").origin == "container redis:7.4"


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_the_fault_says_what_to_do() -> None:
    with pytest.raises(ContainerFault, match=r"no Docker engine answers: .*DOCKER_HOST.*ci/docker"):
        engine()


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_the_peer_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBWIRE_DOCKER_CPAN", "1")
    for name in ("perl@docker", "perl@docker:0.003", "perl@docker:*"):
        with pytest.raises(MissingPeer, match="no Docker engine answers"):
            resolve(name)


def test_a_stack_that_the_host_lacks_is_a_missing_peer(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("JOBWIRE_DOCKER_CPAN", "0")
    monkeypatch.setenv("JOBWIRE_PERL_ROOT", str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(MissingPeer, match=r"JOBWIRE_PERL_ROOT/0\.003/lib/perl5 is not on this host"):
        resolve("perl@docker:0.003")


def test_master_cannot_come_from_cpan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBWIRE_DOCKER_CPAN", "1")
    with pytest.raises(MissingPeer, match="master was never released"):
        resolve("perl@docker:master")


@pytest.mark.parametrize("name", ["perl@docker:0.9", "perl@podman", "python@docker"])
def test_other_names_mean_nothing(name: str) -> None:
    with pytest.raises(UsageFault):
        resolve(name)


@pytest.mark.parametrize(("pattern", "expected"), [("perl:*", True), ("perl:0.004", True), ("python:*", False)])
def test_lists_speak_of_a_peer_in_a_container_by_its_plain_name(pattern: str, expected: bool) -> None:
    instance = Instance(load_cases()[0], "reliable", "python:0.004", "perl@docker:0.004", "0.004", "0.004")
    assert Entry(case="*", worker=pattern, reason="r", link="l").matches(instance) is expected
