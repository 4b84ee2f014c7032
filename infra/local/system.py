"""`parley up` and `python -m infra.local`: from options to a running system, and what the person is told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from infra.local.credentials import Credentials, load_or_create
from infra.local.data_directory import DataDirectory
from infra.local.lifeline import free_ports, port_is_free
from infra.local.options import Options
from infra.local.plan import Plan, Ports, plan
from infra.local.run_file import hold
from infra.local.supervisor import Supervisor
from infra.local.tokens import mint
from infra.nats.binary import nats_server_binary
from shared.errors import Misconfigured

Planning = Callable[[Options, DataDirectory, Credentials, Ports, Path], Plan]

PORT_MAX = 65_535
_FIRST_USERS = ("ada", "grace")
"""Two people, so that one person with two windows can see a conversation."""


def run(options: Options, *, planning: Planning = plan) -> None:
    """Run the system until it is stopped. Raises `ParleyError` if it cannot start.

    `planning`: how options become processes, for who wants something in between (the fault suite).
    """
    directory = DataDirectory(options.data)
    console = Console(highlight=False)

    def say(name: str, text: str) -> None:
        console.print(f"[dim]{name:>9}[/] {escape(text)}", soft_wrap=True)

    with hold(directory.lock):
        credentials = load_or_create(directory.credentials_file)
        planned = planning(options, directory, credentials, choose_ports(options), nats_server_binary())
        directory.claim_stores(options.nats)
        supervisor = Supervisor(planned, directory, options.partitions, say=say, verbose=options.verbose)
        asyncio.run(supervisor.run(lambda took_s: _greet(console, planned, directory, took_s)))
    say("parley", "stopped; everything acknowledged is in " + str(directory.path))


def _greet(console: Console, planned: Plan, directory: DataDirectory, took_s: float) -> None:
    secret = directory.credentials().jwt
    console.print(f"\n[bold]Parley is ready[/] after {took_s:.1f} s; data in {directory.path}/")
    console.print(f"  page      {planned.page}/")
    for user in _FIRST_USERS:
        console.print(f"  as {user:7}{planned.page}/#token={mint(secret, user)}", soft_wrap=True)
    console.print("  stop      Ctrl-C\n")


def choose_ports(options: Options) -> Ports:
    """The ports asked for, and free ones for the rest. Raises `Misconfigured` for a taken edge port.

    Several edges have the first one in common, and one each behind it.
    """
    shared, *own = _edge_ports(options)
    nats = tuple(range(options.nats_port, options.nats_port + options.nats))
    if options.nats_port == 0 or not all(port_is_free(port) for port in nats):
        nats = free_ports(options.nats)
    free = iter(free_ports(options.sequencers + options.archivers + options.readers + 2 * options.nats))

    def some(count: int) -> tuple[int, ...]:
        return tuple(itertools.islice(free, count))

    return Ports(
        edges=tuple(own) or (shared,),
        shared=shared if own else 0,
        nats=nats,
        sequencers=some(options.sequencers),
        archivers=some(options.archivers),
        readers=some(options.readers),
        nats_monitor=some(options.nats),
        nats_cluster=some(options.nats),
    )


def _edge_ports(options: Options) -> tuple[int, ...]:
    count = 1 if options.edges == 1 else 1 + options.edges
    if options.port == 0:
        return free_ports(count)
    ports = tuple(range(options.port, options.port + count))
    if ports[-1] > PORT_MAX:
        raise Misconfigured(f"--port {options.port} --edges {options.edges}: there is no port {ports[-1]}")
    for port in ports:
        if not port_is_free(port, options.host):
            raise Misconfigured(f"port {port} is taken: choose another with --port, or 0 for any")
    return ports
