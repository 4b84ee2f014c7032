"""From options to processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import lifeline
from infra.local.credentials import load_or_create
from infra.local.data_directory import DataDirectory
from infra.local.lifeline import LISTENING, free_port, free_ports, port_is_free
from infra.local.options import Options
from infra.local.plan import STOP_ORDER, Plan, Ports, plan, shares
from infra.local.system import choose_ports
from shared.errors import Misconfigured
from tests.support.ports import own_port

PORTS = Ports(
    edges=(8081, 8082),
    shared=8080,
    nats=(4222, 4223, 4224),
    nats_monitor=(1, 2, 3),
    nats_cluster=(4, 5, 6),
    sequencers=(7,),
    archivers=(8,),
    readers=(9,),
)


def _plan(tmp_path: Path, *, ports: Ports = PORTS, **options: object) -> Plan:
    directory = DataDirectory(tmp_path)
    chosen = Options(data=tmp_path, edges=2, nats=3, **options)  # type: ignore[arg-type]
    return plan(
        chosen, directory, load_or_create(directory.credentials_file), ports, Path("/bin/nats-server")
    )


def test_every_service_knows_its_own_password_only(tmp_path: Path) -> None:
    """The environment of a process holds its user's password and nobody else's."""
    planned = _plan(tmp_path)
    passwords = load_or_create(DataDirectory(tmp_path).credentials_file).nats
    for child in planned.children:
        held = {user for user, password in passwords.items() if password in child.env.values()}
        assert held == (set() if child.kind == "nats" else {child.kind})


def test_only_edges_know_the_token_secret(tmp_path: Path) -> None:
    """Nobody else checks tokens."""
    secret = load_or_create(DataDirectory(tmp_path).credentials_file).jwt
    assert {child.kind for child in _plan(tmp_path).children if secret in child.env.values()} == {"edge"}


def test_no_secret_is_on_a_command_line(tmp_path: Path) -> None:
    """Everybody on the machine may read command lines."""
    credentials = load_or_create(DataDirectory(tmp_path).credentials_file)
    secrets = {*credentials.nats.values(), credentials.cluster, credentials.jwt}
    words = {word for child in _plan(tmp_path).children for word in child.command}
    assert not secrets & words


def test_addresses_and_order(tmp_path: Path) -> None:
    """Three servers mean three copies; every kind of child has its place in the stop order."""
    planned = _plan(tmp_path)
    assert planned.replicas == 3
    assert planned.nats_url == "nats://127.0.0.1:4222,nats://127.0.0.1:4223,nats://127.0.0.1:4224"
    assert planned.edges == ("http://127.0.0.1:8081", "http://127.0.0.1:8082")
    assert {child.kind for child in planned.children} == set(STOP_ORDER)
    assert len({child.name for child in planned.children}) == len(planned.children)


def test_several_sequencers_are_numbered(tmp_path: Path) -> None:
    """One keeps the plain name; each of several has a name, a port and a log file of its own."""
    assert "sequencer" in {child.name for child in _plan(tmp_path).children}
    children = _plan(tmp_path, ports=replace(PORTS, sequencers=(7, 9))).children
    sequencers = [child for child in children if child.kind == "sequencer"]
    assert [child.name for child in sequencers] == ["sequencer-1", "sequencer-2"]
    assert [child.env["PARLEY_METRICS_PORT"] for child in sequencers] == ["7", "9"]
    assert len({child.log for child in children}) == len(children)


def test_archivers_divide_the_partitions(tmp_path: Path) -> None:
    """Each partition has one keeper, and no keeper has two more than another; one alone has all."""
    children = _plan(tmp_path, ports=replace(PORTS, archivers=(8, 9, 10)), partitions=8).children
    kept = {c.name: c.env["PARLEY_ARCHIVER_PARTITIONS"] for c in children if c.kind == "archiver"}
    assert kept == {"archiver-1": "0-1", "archiver-2": "2-4", "archiver-3": "5-7"}
    assert [c.partitions for c in children if c.kind == "archiver"] == list(kept.values())
    assert [c.partitions for c in _plan(tmp_path, partitions=1).children if c.kind == "archiver"] == ["0-0"]


def test_readers_have_a_cache_of_their_own(tmp_path: Path) -> None:
    """Each has all partitions of the one archive, and a directory that it shares with nobody."""
    children = _plan(tmp_path, ports=replace(PORTS, readers=(9, 10))).children
    readers = [child for child in children if child.kind == "reader"]
    assert [child.name for child in readers] == ["reader-1", "reader-2"]
    assert {child.command[1:] for child in readers} == {("-m", "archiver", "--reader")}
    caches = {Path(child.env["PARLEY_ARCHIVE_CACHE"]) for child in readers}
    assert caches == {tmp_path / "readers" / child.name for child in readers}
    (archive,) = {child.env["PARLEY_ARCHIVE"] for child in children if child.kind in {"archiver", "reader"}}
    assert not any(cache.is_relative_to(archive) for cache in caches)
    assert not any("PARLEY_ARCHIVER_PARTITIONS" in child.env for child in readers)


@given(st.integers(1, 1024), st.integers(1, 64))
def test_every_partition_has_one_keeper(partitions: int, archivers: int) -> None:
    """Whatever the numbers; more archivers than partitions are refused."""
    if archivers > partitions:
        with pytest.raises(Misconfigured, match="at most one each"):
            shares(partitions, archivers)
        return
    divided = shares(partitions, archivers)
    assert [number for share in divided for number in share] == list(range(partitions))
    assert max(map(len, divided)) - min(map(len, divided)) <= 1


def test_every_process_gets_its_ports() -> None:
    """As many as there are processes, all different."""
    ports = choose_ports(Options(port=0, nats_port=0, nats=3, sequencers=2, archivers=2, readers=2, edges=3))
    assert (len(ports.edges), len(ports.sequencers), len(ports.archivers), len(ports.nats)) == (3, 2, 2, 3)
    assert len({ports.shared, *ports.edges} - {0}) == 4
    own = {*ports.sequencers, *ports.archivers, *ports.readers, *ports.nats_monitor, *ports.nats_cluster}
    assert len(own) == 2 + 2 + 2 + 3 + 3


def test_several_edges_share_the_port_that_was_asked_for(tmp_path: Path) -> None:
    """Each has a port of its own behind it; an edge that is alone has that port and shares nothing."""
    for several in (2, 3):
        first = _free_row(several + 1)
        ports = choose_ports(Options(port=first, nats_port=0, edges=several))
        assert (ports.shared, ports.edges) == (first, tuple(range(first + 1, first + 1 + several)))
    planned = _plan(tmp_path)
    edges = [child.env for child in planned.children if child.kind == "edge"]
    assert [(env["PARLEY_PORT"], env["PARLEY_SHARED_PORT"]) for env in edges] == [
        ("8081", "8080"),
        ("8082", "8080"),
    ]
    assert planned.page == "http://127.0.0.1:8080"
    alone = choose_ports(Options(port=first, nats_port=0))
    assert (alone.shared, alone.edges) == (0, (first,))
    assert _plan(tmp_path, ports=replace(PORTS, edges=(8080,), shared=0)).page == "http://127.0.0.1:8080"


def test_there_are_so_many_ports() -> None:
    """A row of ports that would not end before 65,535 is refused."""
    with pytest.raises(Misconfigured, match="no port 65536"):
        choose_ports(Options(port=65_534, edges=2))


def test_a_person_can_open_what_listens_everywhere(tmp_path: Path) -> None:
    """`--host 0.0.0.0` is an address to listen on, not one to visit."""
    planned = _plan(tmp_path, host="0.0.0.0")
    assert (planned.page, planned.edges[0]) == ("http://127.0.0.1:8080", "http://127.0.0.1:8081")
    assert planned.children[-1].env["PARLEY_HOST"] == "0.0.0.0"


def test_settings_can_be_passed_on(tmp_path: Path) -> None:
    """`--env.NAME value` reaches every service."""
    planned = _plan(tmp_path, env={"PARLEY_FLUSH_EVENTS": "10"})
    services = [child for child in planned.children if child.kind != "nats"]
    assert all(child.env["PARLEY_FLUSH_EVENTS"] == "10" for child in services)


def test_a_taken_port_is_refused_or_replaced() -> None:
    """People have the edge's address in their browser, so it is refused; nobody types that of NATS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: int = listener.getsockname()[1]
        assert not port_is_free(taken)
        with pytest.raises(Misconfigured, match=f"port {taken} is taken"):
            choose_ports(Options(port=taken))
        assert choose_ports(Options(port=0, nats_port=taken)).nats[0] != taken


def test_free_ports_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two processes get the same one, whoever listens when."""
    assert port_is_free(free_port())
    row = range(1, 7)
    monkeypatch.setattr(lifeline, "_given", set())
    monkeypatch.setattr(lifeline, "port_is_free", lambda _: True)
    monkeypatch.setattr(lifeline, "_claimed", lambda port: port != 3)
    assert {*free_ports(2, row), *free_ports(3, row)} == set(row) - {3}
    with pytest.raises(OSError, match="no 1 ports from 1 to 6"):
        free_ports(1, row)


def test_no_other_run_is_given_our_port() -> None:
    """While we live, however long nobody listens there."""
    port = own_port()
    asked = f"from infra.local import lifeline; print(lifeline._claimed({port}))"
    command = [sys.executable, "-c", asked]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "False\n"


def test_no_connection_takes_the_port_of_a_service_that_restarts() -> None:
    """Ports that are chosen lie outside of those that the kernel gives to connections."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first < LISTENING.stop:
        pytest.skip(f"connections of this machine use {first} to {last}")
    assert not [port for port in free_ports(50) if first <= port <= last]


def _free_row(count: int) -> int:
    """The first of so many free ports in a row."""
    return next(
        first for first in iter(own_port, None) if all(port_is_free(first + more) for more in range(count))
    )
