"""The arithmetic of the reports."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

import pytest

from tests.bench.measure import (
    CpuMeter,
    call_ns,
    connections,
    metric,
    percentile,
    rss_bytes,
    send_queue,
    send_queue_bytes,
    slab_bytes,
    tcp_buffer_bytes,
)
from tests.bench.pace import paced
from tests.bench.report import Figure, circumstances, json_lines


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 2), (100, 0.99, 99), (100, 0.999, 100), (1000, 0.99, 990), (5, 0, 1)],
)
def test_percentile_is_the_nearest_rank(count: int, share: float, expected: int) -> None:
    """The smallest value that at least that share of all values do not exceed."""
    assert percentile(range(1, count + 1), share) == expected


def test_cpu_of_a_process_is_what_it_itself_sees() -> None:
    """The figure from /proc agrees with the process's own clock."""
    meter = CpuMeter(me=os.getpid())
    began_ns = time.process_time_ns()
    while time.process_time_ns() - began_ns < 50_000_000:
        pass
    assert 40_000 < meter.used_us("me") < 1_000_000
    assert rss_bytes(os.getpid()) > 1_000_000


def test_a_call_costs_something() -> None:
    """More than a processor's cycle, less than what a millisecond holds."""
    assert 1.0 < call_ns() < 1_000_000.0


async def test_every_message_is_due_at_its_own_time() -> None:
    """What comes after a stall was due during it: the schedule does not wait."""
    dues: list[int] = []
    await paced(1000, 50, lambda _, due_ns: dues.append(due_ns))
    assert [later - earlier for earlier, later in itertools.pairwise(dues)] == [1_000_000] * 49


def test_a_target_is_met_from_its_own_side() -> None:
    """An upper bound on the ratio, a lower bound on the value, and no target at all."""
    upper = Figure("b", "c", "f", "ms", 9.0, 5, ratio=1.4, target=1.5, judged="ratio")
    lower = Figure("b", "c", "f", "ids/s", 900.0, 5, target=1000.0, at_least=True)
    assert (upper.met, lower.met) == (True, False)
    assert Figure("b", "c", "f", "ms", 1.0, 5).met is None
    assert '"met":true' in json_lines([upper], circumstances())[0]


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 0000ABCD:00000000 00:00000000 00000000     0        0 2 1 0 20 4 31 10 -1
   2: 0100007F:C350 0100007F:1F90 01 00000001:0000FFFF 00:00000000 00000000     0        0 3 1 0 20 4 31 10 -1
"""


def test_the_send_queue_is_that_of_the_named_end() -> None:
    """Neither the listening socket nor the other end, and nothing for a connection that there is not."""
    assert send_queue(TABLE, 0x1F90, 0xC350) == 0xABCD
    assert send_queue(TABLE, 0xC350, 0x1F90) == 1
    assert send_queue(TABLE, 0x1F90, 0xC351) == 0


def test_what_nobody_reads_stands_in_the_send_queue() -> None:
    """The kernel's table knows bytes that were written to a reader who takes none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        ends = near.getsockname()[1], near.getpeername()[1]
        near.setblocking(False)
        written = 0
        while True:
            try:
                written += near.send(b"x" * 65536)
            except BlockingIOError:
                break
        assert 0 < send_queue_bytes(*ends) <= written


def test_a_metric_is_found_by_its_whole_name() -> None:
    """Not by the beginning of another's, and never as if it were 0."""
    text = "# HELP parley_a A\nparley_a_total 7.0\nparley_a 1.5e+03\n"
    assert metric(text, "parley_a") == 1500
    with pytest.raises(KeyError):
        metric(text, "parley_b")


def test_buffers_of_tcp_are_counted_in_pages() -> None:
    """Not those of UDP, which have a column of the same name."""
    text = "sockets: used 9\nUDP: inuse 1 mem 7\nTCP: inuse 235 orphan 0 tw 90 alloc 235 mem 3\n"
    assert tcp_buffer_bytes(text) == 3 * os.sysconf("SC_PAGE_SIZE")
    with pytest.raises(KeyError):
        tcp_buffer_bytes("sockets: used 9\n")


SLABS = """slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit>
TCPv6                 26     39   2496   13    8 : tunables    0    0    0 : slabdata      3      3      0
TCP                 2262   2300   2368   13    8 : tunables    0    0    0 : slabdata    177    177      0
filp                  10     20    192   21    1 : tunables    0    0    0 : slabdata      1      1      0
"""


def test_kernel_objects_are_counted_by_their_whole_name() -> None:
    """Those in use, each with its size; a kind that the kernel does not have counts nothing."""
    assert slab_bytes(SLABS, {"TCP", "filp", "none"}) == 2262 * 2368 + 10 * 192


def test_a_connection_counts_once_it_is_accepted() -> None:
    """Neither the listening socket nor one that still waits, nor the other end, nor another port's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def count() -> int:
            return connections(Path("/proc/net/tcp").read_text(), port)

        with socket.create_connection(server.getsockname()):
            assert count() == 0
            far, _ = server.accept()
            with far:
                assert count() == 1
            assert count() == 0
