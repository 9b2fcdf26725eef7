"""The tables of the Linux programs: bench/linux/README.md says what each workload does."""
from __future__ import annotations

from collections.abc import Callable

from harness import Bar, Peer, Plot, Row, Table, grid

POISE = Peer("poise", "linux/peer-poise", "poise")
EPOLL = Peer("raw epoll", "linux/peer-epoll", "epoll")
POISE_EDGE = Peer("poise edge", "linux/peer-poise", "poise-edge", versus="")
EPOLL_EDGE = Peer("raw epoll edge", "linux/peer-epoll", "epoll-edge", versus="poise edge")
LIBEV = Peer("libev", "linux/peer-libev", "libev")
LIBEVENT = Peer("libevent", "linux/peer-libevent", "libevent")
LIBUV = Peer("libuv", "linux/peer-libuv", "libuv")
MIO = Peer("mio", "mio", "mio")
MIO_EDGE = Peer("mio", "mio", "mio", versus="poise edge")

LIBRARIES = (LIBEV, LIBEVENT, LIBUV)
LEVEL = (POISE, EPOLL, *LIBRARIES, MIO)
BOTH = (POISE, EPOLL, *LIBRARIES, POISE_EDGE, EPOLL_EDGE, MIO_EDGE)  # mio has edges alone

AHEAD = tuple(Bar(1.0, peer.label) for peer in LIBRARIES)
AS_RAW = (Bar(1.03, "raw epoll"), Bar(1.03, "raw epoll edge", of="poise edge"))
PINNED: dict[str, object] = {"pin": True, "figure": "cpu_ns/ops"}  # other programs' share of the time is left out
CALLS = ("reads", "writes", "waits")
WORK = ("reads", "writes", "waits", "ctls", "allocs")


def waiting(name: str, title: str, keys: dict[str, tuple[int, ...]], short: dict[str, tuple[int, ...]], count: int,
            **more: object) -> Table:
    """A table whose cells are waits: poise level against raw level, poise edge against raw edge."""
    settings: dict[str, object] = {
        "workload": name, "peers": BOTH, "rows": grid(**keys), "short_rows": grid(**short), "count": count,
        "short_count": 200, "same": CALLS, "show": WORK, "bars": (*AS_RAW, *AHEAD), **PINNED}
    return Table(name=name, title=title, platform="linux", **{**settings, **more})  # type: ignore[arg-type]


def changes(name: str, title: str, look: int, **more: object) -> Table:
    """A table of epoll_ctl, or of what stands for it."""
    settings: dict[str, object] = {
        "workload": name, "peers": LEVEL, "rows": ({"n": 1000, "look": look},), "short_rows": ({"n": 20, "look": look},),
        "count": 100_000, "short_count": 200, "show": WORK, "bars": (Bar(1.05, "raw epoll"),), **PINNED}
    return Table(name=f"{name}-look" if look else name, title=title, platform="linux",
                 **{**settings, **more})  # type: ignore[arg-type]


def timers(name: str, title: str, count: int | Callable[[Row], int], **more: object) -> Table:
    settings: dict[str, object] = {
        "rows": grid(n=(1_000_000,)), "short_rows": grid(n=(1000,)), "same": (), "show": ("waits", "allocs"), **PINNED,
        "bars": (Bar(300, None), *(bar for bar in AHEAD if bar.against in ("libev", "libuv")))}
    return Table(name=f"timer-{name}", title=title, platform="linux", workload=f"timer-{name}", peers=(POISE, *LIBRARIES),
                 count=count, short_count=200, **{**settings, **more})  # type: ignore[arg-type]


def wakes(name: str, title: str, rows: tuple[Row, ...], count: int | Callable[[Row], int],
          **more: object) -> Table:
    settings: dict[str, object] = {"bars": (Bar(1.1, "raw eventfd"),), "same": (), "show": ("waits", "allocs")}
    eventfd = Peer("raw eventfd", EPOLL.program, EPOLL.argument)
    return Table(name=f"wake-{name}", title=title, platform="linux", workload=f"wake-{name}",
                 peers=(POISE, eventfd, *LIBRARIES, MIO), rows=rows, short_rows=rows[:1], count=count, short_count=200,
                 **{**settings, **more})  # type: ignore[arg-type]


PUT_OFF = ("libev puts off what it tells the kernel until it waits, so that here it tells it nothing at all; libuv does that "
           "in part. poise and raw epoll owe -EBADF at once.")

TABLES = [
    waiting("chain", "Chained socket pairs: a byte is read and passed on to the next pair",
            {"n": (1, 10, 100, 1000, 9000), "active": (1, 10, 100, 1000)}, {"n": (1, 50), "active": (1, 10)}, 20_000,
            plots=(Plot(x="n", panels="active"),),
            note="mio has edges alone, and is compared with poise's; all read once, which is right here in edge mode, too."),
    waiting("drain", "The same, each pair read until EAGAIN, as edge mode asks for in general",
            {"n": (1, 100, 1000, 9000), "active": (1, 10)}, {"n": (1,), "active": (1,)}, 20_000, workload="chain",
            peers=tuple(Peer(peer.label, peer.program, peer.argument, {"drain": 1}, versus=peer.versus) for peer in BOTH)),
    waiting("echo", "TCP echo: both ends of all connections in one queue, a message on its way in each",
            {"n": (1, 10, 100, 1000)}, {"n": (1, 5)}, 8_000, plots=(Plot(x="n"),)),
    waiting("pingpong", "TCP request and response with another process on the same processor: each wait blocks",
            {"n": (1, 100, 1000)}, {"n": (1, 10)}, 5_000, more=("ns/ops",),
            note="cpu_ns is the server's part of the processor, its falling asleep included; ns is the time that passed."),
    waiting("accept", "Connections: accept, watch, read a byte, unwatch, close; bursts of 16",
            {"burst": (16,)}, {"burst": (4,)}, 2_000, same=("writes",),
            note="The client's socket, connect and write are in the clock, too. With edges all that wait are accepted "
            "at once."),
    waiting("idle", "A wait with time-out zero, and nothing is ready",
            {"n": (1, 100, 1000)}, {"n": (1, 10)}, 300_000, plots=(Plot(x="n"),)),
    changes("churn", "Watch a descriptor, and unwatch it", 0, note=PUT_OFF),
    changes("churn", "Watch a descriptor, look (a wait with time-out zero), unwatch it", 1),
    changes("pause", "Pause a source, and resume it", 0, note=PUT_OFF),
    changes("pause", "Pause a source, look, resume it", 1),
    changes("oneshot", "A one-shot's event, and its re-arm", 0, rows=grid(n=(1, 100, 1000)), short_rows=grid(n=(10,)),
            note="libev has no one-shots: its watcher is stopped and started, of which the kernel hears nothing."),
    timers("start", "Start a timer, while n run", 200_000),
    timers("stop", "Stop a timer, while n run", 200_000),
    timers("restart", "Restart a timer, while n run", 200_000),
    timers("fire", "Timers that fire, while n run", lambda row: 3_000 if row["lump"] == 100 else 20_000,
           rows=grid(n=(1_000_000,), lump=(100, 1000, 10_000)), short_rows=grid(n=(1000,), lump=(100,)),
           note="lump: so many become due at the same time."),
    timers("mixed", "Of 101: 49 restarts, 25 stops, 25 starts, one that is due, and its new start", 505_000),
    wakes("pingpong", "Two threads wake each other: a round trip", grid(cpus=(1, 2)),
          lambda row: 20_000 if row["cpus"] == 1 else 3_000, figure="cpu_ns/ops", more=("ns/ops",),
          note="cpu_ns is the main thread's part of the processor, ns the time that passed. cpus: both threads on one "
          "processor, or each on its own."),
    wakes("take", "One thread: wake, wait, take", ({},), 100_000, **PINNED),
    wakes("call", "A wake of what is woken already", ({},), 1_000_000, **PINNED),
]
