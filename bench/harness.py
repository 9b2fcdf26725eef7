"""How a table of the benchmark suite is described: bench/tables_*.py have `TABLES`, a list of Table; bench/run.py runs them.

A figure is what a table shows of a round. It is named by what a peer's line has: "ns/ops" is ns divided by ops, "p99" is
the value itself, "wait_ns/ops" a quotient of others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Row = dict[str, object]  # the KEY=VALUE of a row, in the order of the table's columns


def every(row: Row) -> bool:  # the default of each `rows`
    return True


@dataclass(frozen=True)
class Peer:
    """One of those that take turns: PROGRAM ARGUMENT WORKLOAD KEY=VALUE..."""

    label: str  # the column's heading: "poise", "raw epoll"
    program: str  # "linux/x": BUILD/bench/linux/x; "wasi/x": BUILD/bench/wasi/x.wasm; "mio": mio's, for either
    argument: str  # its PEER
    options: Row = field(default_factory=dict)  # KEY=VALUE in addition to the row's
    workload: str = ""  # where it differs from the table's
    versus: str | None = None  # whose figure is divided by this peer's: the first peer's, if None; nobody's, if ""
    rows: Callable[[Row], bool] = every  # where it takes part
    share: float | Callable[[Row], float] = 1.0  # of the table's count, for one that is far slower than the others
    differs: dict[str, str] = field(default_factory=dict)  # {"reads": "it must read until EAGAIN"}: may differ, and why


@dataclass(frozen=True)
class Bar:
    """What shall be reached, row by row. Met and missed ones are printed; missing one fails no run."""

    at_most: float | Callable[[Row], float]
    # A label: the ratio of `of` and that peer. A row's parameters (those that differ): of `of` in this row and in that
    # one. None: the figure of `of` itself.
    against: str | Row | None
    of: str | None = None  # a label; None: the table's first peer
    figure: str = ""  # "": the table's
    end: str = "lower"  # which end of the 95 % interval has to be within it: "lower", "upper", or the "median" alone
    rows: Callable[[Row], bool] = every
    at_least: bool = False  # turned round: at_most is the lowest value allowed, and `end` should be "upper" or "median"


@dataclass(frozen=True)
class Plot:
    """One picture of a table: a line for each peer, a panel for each value of another parameter."""

    x: str  # a row's key
    panels: str = ""  # a row's key: a panel for each of its values
    log_x: bool = True
    log_y: bool = True
    rows: Callable[[Row], bool] = every
    labels: tuple[str, ...] = ()  # these peers only
    ratio: bool = False  # not the peers' figures, but the ratios to them, with their intervals: below 1, poise is faster
    figure: str = ""  # "": the table's
    title: str = ""  # "": the table's
    x_label: str = ""  # "": x
    name: str = ""  # added to the file's name, where a table has several
    publish: bool = True  # it goes into docs/performance/


@dataclass(frozen=True)
class Table:
    name: str  # a word: for --tables and file names
    title: str
    platform: str  # "linux" or "wasi"
    workload: str
    peers: tuple[Peer, ...]  # the first is what the others are compared with: poise
    rows: tuple[Row, ...]
    short_rows: tuple[Row, ...]  # for --short: small ones, that take a moment
    count: int | Callable[[Row], int]  # events or operations of a round: some 20 to 100 ms of the fastest peer
    short_count: int | Callable[[Row], int]
    figure: str = "ns/ops"
    unit: str = "ns"  # what times are shown in: "ns", "us", "ms"; or any other word, for a figure that is no time
    bars: tuple[Bar, ...] = ()
    plots: tuple[Plot, ...] = ()
    same: tuple[str, ...] = ("reads", "writes")  # the same for each op with all peers; add "waits" where it is
    tolerance: float = 0.02  # how far these may differ, relatively, in the sum over all rounds; or by two a round
    show: tuple[str, ...] = ("reads", "writes", "waits")  # what is printed for each op, beside the figures
    more: tuple[str, ...] = ()  # further figures, a column for each peer: ("served", "p50", "p99")
    hosts: tuple[str, ...] = ("wasmtime-48", "wasmtime-47")  # platform "wasi": each is a run of its own
    host_options: tuple[str, ...] = ()  # for tools/wasi-run
    wrapper: str = ""  # "wasi/helper": the native BUILD/bench/wasi/helper gets the whole command, and runs it
    starts: int = 6  # of the processes: memory layout is luck of the process
    turns: int = 5  # in each start
    round_seconds: float = 60.0  # a round that takes longer: the peer is stopped and reported
    setup_seconds: float = 120.0  # the same until `ready`
    pin: bool = False  # all peers on one processor: for workloads without threads
    note: str = ""  # a sentence under the table: what the reader has to know
    publish: bool = True  # its results go into docs/performance.md

    def peer(self, label: str) -> Peer:
        for peer in self.peers:
            if peer.label == label:
                return peer
        raise KeyError(f"table {self.name} has no peer {label!r}")

    def check(self) -> None:
        """Mistakes of a table's author, before anything runs."""
        labels = [peer.label for peer in self.peers]
        if self.platform not in ("linux", "wasi"):
            raise ValueError(f"table {self.name}: platform {self.platform!r}")
        if len(set(labels)) != len(labels) or not self.rows or not self.short_rows:
            raise ValueError(f"table {self.name}: a label twice, or no rows")
        if len({tuple(row) for row in self.rows + self.short_rows}) != 1:
            raise ValueError(f"table {self.name}: its rows have different parameters")
        for peer in self.peers:
            if peer.versus:
                self.peer(peer.versus)
        for bar in self.bars:
            if isinstance(bar.against, str):
                self.peer(bar.against)
            elif bar.against is not None and not set(bar.against) <= set(self.rows[0]):
                raise ValueError(f"table {self.name}: a bar against a row that cannot be: {bar.against}")
            if bar.of is not None:
                self.peer(bar.of)
            if bar.end not in ("lower", "upper", "median"):
                raise ValueError(f"table {self.name}: a bar's end {bar.end!r}")


def grid(**values: object) -> tuple[Row, ...]:
    """All combinations: grid(n=(1, 10), active=(1,)). Those with active > n are left out."""
    rows: list[Row] = [{}]
    for key, choices in values.items():
        rows = [{**row, key: value} for row in rows for value in choices]  # type: ignore[attr-defined]
    return tuple(row for row in rows if int(row.get("active", 0)) <= int(row.get("n", 1 << 62)))  # type: ignore[call-overload]


DIVISORS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


def divisor(unit: str, figure: str) -> float:
    """What a figure is divided by to be shown in a table's unit: times are, counts are not."""
    kind = figure.partition("/")[0].rpartition("_")[2]
    return DIVISORS.get(unit, 1.0) if kind in ("ns", "p50", "p90", "p99", "max", "min", "mean") else 1.0


def figure_of(name: str, result: dict[str, float]) -> float | None:
    """The figure of one round; None if the peer does not report what it is made of."""
    above, _, below = name.partition("/")
    if above not in result or (below and not result.get(below)):
        return None
    return result[above] / result[below] if below else result[above]
