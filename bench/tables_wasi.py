"""The tables under WASI 0.2: bench/wasi/README.md says what each workload does, in words.

Sources are loopback TCP sockets. Peers: the library; the C library's poll(2) on the whole array; every pollable in one raw
wasi:io/poll call, always, which is the best that a program could do with bindings of its own before; and mio, which
waits by poll(2), and has to read until WouldBlock.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness import Bar, Peer, Plot, Row, Table, grid


def number(row: Row, key: str) -> int:
    return int(row[key])  # type: ignore[call-overload]


def share(count: Callable[[Row], int]) -> Callable[[Row], float]:
    """For those that look at all sources in each wait: a round of about 0.3 s on wasmtime 47, where a wait reports no more
    than what is active among 128 of them."""

    def of(row: Row) -> float:
        reported = max(1.0, min(number(row, "active"), 128 * number(row, "active") / number(row, "n")))
        return min(1.0, 300_000 / (6 + 0.45 * number(row, "n") / reported) / count(row))

    return of


def events(row: Row) -> int:
    """Of the active ones each has its turn many times over."""
    return max(5000 if row["n"] == 1 else 1000, 20 * number(row, "active"))


POISE = Peer("poise", "wasi/poise", "poise")
LIBC = Peer("libc poll(2)", "wasi/libc", "libc")
WHOLE = Peer("whole list", "wasi/whole", "whole")
MIO = Peer("mio", "mio", "mio", differs={"reads": "it has to read until WouldBlock"})
PEERS = (POISE, LIBC, WHOLE, MIO)


def at_most(limit: float | Callable[[Row], float], against: str | Row | None, **more: object) -> Bar:
    """Here the median decides."""
    return Bar(limit, against, end="median", **more)  # type: ignore[arg-type]


def never(figure: str) -> Bar:
    return Bar(0, None, figure=figure, end="upper")


ALL_SERVED = Bar(lambda row: number(row, "active"), None, figure="served", at_least=True, end="lower")
NOT_WORSE = at_most(1.5, "whole list")

# Components of 9,000 pairs of sockets take seconds to set up: few starts, many turns.
STARTS, TURNS = 3, 10

SIZES = (1, 100, 1000, 9000)


def one_active(row: Row) -> bool:
    return row["n"] == 9000 and row["active"] == 1


def no_clock(peer: Peer) -> Peer:
    return replace(peer, options={**peer.options, "timed": 0})


def draining(peer: Peer) -> Peer:
    return replace(peer, options={**peer.options, "drain": 1}, differs={})


def others_less(part: float | Callable[[Row], float], peers: tuple[Peer, ...] = PEERS) -> tuple[Peer, ...]:
    return (peers[0], *(replace(peer, share=part) for peer in peers[1:]))


ACTIVE = Table(
    name="wasi-active",
    title="WASI: one event among n sources, read once",
    platform="wasi",
    workload="active",
    peers=others_less(share(events), tuple(no_clock(peer) for peer in (POISE, LIBC, WHOLE))),
    rows=grid(n=SIZES, active=(1, 10, 100, 1000)),
    short_rows=grid(n=(1, 50), active=(1,)),
    count=events,
    short_count=100,
    unit="us",
    show=("reads", "writes", "waits", "calls"),
    more=("served", "allocs"),
    bars=(
        at_most(1.1, "libc poll(2)", rows=lambda row: row["n"] == 1),
        at_most(3.0, {"n": 1}, rows=one_active),
        at_most(1 / 50, "libc poll(2)", rows=one_active),
        NOT_WORSE,
        ALL_SERVED,
        never("allocs"),
    ),
    plots=(Plot(x="n", panels="active", x_label="sources"),),
    starts=STARTS,
    turns=TURNS,
    note="One byte for each active source goes round: read, and written again to the same pair of sockets.",
)

DRAIN = replace(
    ACTIVE,
    name="wasi-active-drain",
    title="WASI: one event among n sources, read until EAGAIN",
    peers=others_less(share(events), tuple(draining(no_clock(peer)) for peer in PEERS)),
    rows=grid(n=SIZES, active=(1, 100, 1000)),
    short_rows=grid(n=(50,), active=(1,)),
    bars=(at_most(1.1, "libc poll(2)", rows=lambda row: row["n"] == 1), NOT_WORSE),
    note="As before; each event costs a second read, which finds nothing. mio has to, the others need not.",
)

CROWD = Table(
    name="wasi-crowd",
    title="WASI: a crowd of active sources: how many are ever served, and the wait's part of an event",
    platform="wasi",
    workload="active",
    peers=others_less(share(events)),
    rows=({"n": 1000, "active": 1000}, {"n": 5000, "active": 1000}),
    short_rows=({"n": 200, "active": 150},),
    count=events,
    short_count=1000,
    figure="wait_ns/ops",
    unit="us",
    more=("served", "wait_p99", "allocs"),
    bars=(
        ALL_SERVED,
        at_most(1 / 3, "whole list", rows=lambda row: row["n"] == 5000),
        NOT_WORSE,
        never("allocs"),
    ),
    starts=STARTS,
    turns=TURNS,
    note="`served`: of the active ones, in a round of 20 events for each of them.",
)

def random_events(row: Row) -> int:
    """About 0.1 s: few active ones cost what the whole list does."""
    event_us = 6 + 0.45 * number(row, "n") / number(row, "active")
    return max(50, 5 * number(row, "active"), min(2000, int(100_000 / event_us)))


def random_share(row: Row) -> float:
    """On wasmtime 47 the others find one event in a wait."""
    events = max(3 * number(row, "active"), 200_000 / (6 + 0.45 * number(row, "n")))
    return min(1.0, events / random_events(row))


RANDOM = Table(
    name="wasi-random",
    title="WASI: random activity over all sources",
    platform="wasi",
    workload="random",
    peers=others_less(random_share),
    rows=grid(n=(100, 1000, 9000), active=(1, 10, 100)) + ({"n": 1000, "active": 1000},),
    short_rows=grid(n=(50,), active=(5,)),
    count=random_events,
    short_count=100,
    unit="us",
    show=("reads", "waits", "calls"),
    same=("writes",),  # how many messages one read finds is chance
    more=("p50", "p99", "max"),
    bars=(NOT_WORSE, at_most(1.5, "whole list", figure="p50")),
    plots=(Plot(x="n", panels="active", x_label="sources"),),
    starts=STARTS,
    turns=TURNS,
    note="Each message is answered by one to a random source: the worst case for telling hot from cold. p50, p99, max: from the "
    "sending of a message to the wait that reports it.",
)


def cold_bound(row: Row) -> float:
    """cold_latency_ns as it is by default, and never less than 2 us for each cold source."""
    return max(1e6, 2000.0 * (number(row, "n") - number(row, "active")))


COLD = Table(
    name="wasi-cold",
    title="WASI: hot traffic, and now and then a message for a source that was idle: its delay",
    platform="wasi",
    workload="cold",
    peers=others_less(0.25),
    rows=tuple(row for row in grid(n=(100, 1000, 9000), active=(1, 10, 100), gap_us=(1000,)) if row["active"] != row["n"]),
    short_rows=grid(n=(50,), active=(1,), gap_us=(1000,)),
    count=200,
    short_count=10,
    figure="p50",
    unit="us",
    show=("waits", "calls"),
    same=("writes",),
    tolerance=1.0,
    more=("p99", "max", "ns/ops", "lost"),
    bars=(
        at_most(cold_bound, None),
        at_most(lambda row: 1.5 * cold_bound(row), None, figure="p99"),
        at_most(1.5, "whole list", figure="ns/ops"),
        never("lost"),
    ),
    plots=(Plot(x="n", panels="active", x_label="sources"),),
    starts=STARTS,
    turns=TURNS,
    note="The bound of the median is max(cold_latency_ns, 2 us for each cold source), of p99 1.5 times that. ns/ops: of an event of the "
    "hot traffic.",
)

SILENT = Table(
    name="wasi-silent",
    title="WASI: a message after silence: its delay",
    platform="wasi",
    workload="silent",
    peers=PEERS,
    rows=grid(n=SIZES, gap_us=(1000, 20000)),
    short_rows=grid(n=(50,), gap_us=(1000,)),
    count=lambda row: 10 if row["gap_us"] == 20000 else 50,
    short_count=5,
    figure="p50",
    unit="us",
    show=("waits", "calls"),
    same=("writes",),
    more=("p99", "max"),
    bars=(NOT_WORSE,),
    plots=(Plot(x="n", panels="gap_us", x_label="sources"),),
    wrapper="wasi/helper",
    starts=STARTS,
    turns=TURNS,
    note="A native process sends to a random source, gap_us (half to one and a half of it) after the one before was seen.",
)

REQUEST = Table(
    name="wasi-request",
    title="WASI: request and response, where each wait blocks: the round trip less the 200 us that the other side takes",
    platform="wasi",
    workload="request",
    peers=others_less(share(lambda row: 200)),
    rows=grid(n=SIZES, active=(1, 10)),
    short_rows=grid(n=(50,), active=(1,)),
    count=200,
    short_count=20,
    figure="p50",
    unit="us",
    show=("reads", "waits", "calls"),
    same=("writes",),
    more=("p99", "max"),
    bars=(NOT_WORSE,),
    plots=(Plot(x="n", panels="active", x_label="sources"),),
    wrapper="wasi/helper",
    starts=STARTS,
    turns=TURNS,
)

IDLE = Table(
    name="wasi-idle",
    title="WASI: a wait with a time-out of 0 that finds nothing",
    platform="wasi",
    workload="idle",
    peers=PEERS,
    rows=grid(n=SIZES),
    short_rows=grid(n=(50,)),
    count=lambda row: min(2000, max(50, 100000 // number(row, "n"))),
    short_count=20,
    unit="us",
    same=("reads", "waits"),
    more=("allocs",),
    bars=(NOT_WORSE, never("allocs")),
    starts=STARTS,
    turns=TURNS,
)

TIMERS = Table(
    name="wasi-timers",
    title="WASI: a timer is started, stopped, or fires, while n run",
    platform="wasi",
    workload="timers",
    peers=(POISE, Peer("a pollable each", "wasi/whole", "whole")),
    rows=grid(op=("start", "stop", "fire"), n=(100, 1000, 10000), active=(100,)),
    short_rows=grid(op=("start", "stop", "fire"), n=(100,), active=(10,)),
    count=lambda row: 5000 if row["op"] == "fire" else 20000,
    short_count=100,
    same=("waits",),
    show=("waits", "calls"),
    more=("allocs",),
    bars=(at_most(1.5, "a pollable each"), never("allocs")),
    starts=STARTS,
    turns=TURNS,
    note="In batches of 100. The C library has no timers but poll's time-out, and mio none.",
)

UNWATCHED = Peer("unwatched", "wasi/unwatched", "unwatched")


def io_rows(n: int) -> tuple[Row, ...]:
    calls = ("recv-nothing", "recv-all", "recv-part", "recv-on", "send", "send-nothing", "accept-nothing", "udp-nothing")
    return tuple({"op": call, "n": 1 if call == "send-nothing" else n} for call in calls)


def look(row: Row) -> bool:
    return row["op"] == "recv-part"


IO = Table(
    name="wasi-io",
    title="WASI: what a call on a socket costs that poise hears",
    platform="wasi",
    workload="io",
    peers=(POISE, UNWATCHED, Peer("libc alone", "wasi/libc", "libc")),
    rows=io_rows(32),
    short_rows=io_rows(4),
    count=lambda row: 2000 if row["op"] == "accept-nothing" else 10000,
    short_count=50,
    show=("reads", "writes", "looks"),
    bars=(
        at_most(1.03, "libc alone", rows=lambda row: not look(row)),
        at_most(1.0, {"op": "recv-on"}, rows=look),
    ),
    starts=6,
    turns=5,
    pin=True,
    note="`nothing`: it ends with EAGAIN. `recv-all`: the buffer of 64 bytes becomes full. `recv-part`: it gets 5 bytes, and poise "
    "looks whether there is more, 31 times of 32, as the next wait would else be for nothing. `recv-on`: 5 bytes, and a second "
    "recv, which finds nothing. `unwatched`: poise is linked, and its queue watches nothing. All on one processor.",
)

IO_EVENT = Table(
    name="wasi-io-event",
    title="WASI: 5 bytes come and are read; then a wait with a time-out of 0, until it finds nothing",
    platform="wasi",
    workload="event",
    peers=(no_clock(POISE), replace(no_clock(LIBC), differs={"reads": "a wait finds the socket ready once more, for nothing"})),
    rows=tuple({"n": n, "drain": drain} for n in (1, 10, 100) for drain in (0, 1)),
    short_rows=({"n": 4, "drain": 0}, {"n": 4, "drain": 1}),
    count=lambda row: 400 if row["n"] == 100 else 2000,
    short_count=50,
    unit="us",
    show=("reads", "writes", "waits", "looks"),
    bars=(
        at_most(1.0, "libc poll(2)", rows=lambda row: row["drain"] == 0),
        at_most(1.1, "libc poll(2)", rows=lambda row: row["drain"] == 1),
    ),
    starts=6,
    turns=5,
    pin=True,
    note="`drain=1`: it reads until EAGAIN, as edge mode asks for in general. All on one processor.",
)

TABLES = [ACTIVE, DRAIN, CROWD, RANDOM, COLD, SILENT, REQUEST, IDLE, TIMERS, IO, IO_EVENT]
