"""The rounds of a table: kept, written as CSV, read again, and what follows from them: medians, ratios, intervals, bars."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from harness import DIVISORS, Bar, Peer, Row, Table, divisor, figure_of

FIXED = (
    "host",
    "peer",
    "start",
    "turn",
    "place",
    "status",
)  # the columns that every CSV has, beside the row's and the peer's

FEWEST = 6  # pairs of rounds, for an interval of 95 %: with fewer, no bar is judged


@dataclass
class Round:
    host: str  # "" natively
    row: Row
    peer: str  # its label
    start: int
    turn: int
    place: int  # in the order of that turn
    status: str  # "ok", "unsupported: REASON", "failed: REASON"
    result: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Interval:
    """A median and where it lies with 95 % confidence: two order statistics of the sample (binomial)."""

    median: float
    lower: float
    upper: float
    n: int

    def at(self, end: str) -> float:
        return {"lower": self.lower, "upper": self.upper, "median": self.median}[end]


def interval(values: list[float]) -> Interval:
    """Of n values, the k-th smallest and the k-th largest enclose the true median with 1 - 2 P(B(n, 1/2) < k). With fewer than
    six that is below 95 % for any k: then they are the smallest and the largest."""
    ordered = sorted(values)
    n = len(ordered)
    k, below, term = 0, 0.0, 0.5**n  # below: P(B(n, 1/2) < k)
    while below + term <= 0.025:
        below += term
        term = term * (n - k) / (k + 1)
        k += 1
    k = max(k, 1)
    return Interval(statistics.median(ordered), ordered[k - 1], ordered[n - k], n)


class Results:
    def __init__(self, table: Table, header: dict[str, str]) -> None:
        self.table = table
        self.header = header
        self.rounds: list[Round] = []

    # --- CSV ---------------------------------------------------------------------------------------------------------

    def write(self, path: Path) -> None:
        keys = list(self.table.rows[0])
        measured: list[str] = []
        for one in self.rounds:
            measured += [key for key in one.result if key not in measured]
        text = io.StringIO()
        for key, value in self.header.items():
            text.write(f"# {key}: {value}\n")
        out = csv.writer(text, lineterminator="\n")
        out.writerow([*keys, *FIXED, *measured])
        for one in self.rounds:
            out.writerow(
                [
                    *(one.row[key] for key in keys),
                    one.host,
                    one.peer,
                    one.start,
                    one.turn,
                    one.place,
                    one.status,
                    *(one.result.get(key, "") for key in measured),
                ]
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".new").write_text(text.getvalue())
        path.with_suffix(".new").rename(path)

    @staticmethod
    def read(table: Table, path: Path) -> Results:
        results = Results(table, {})
        lines = path.read_text().splitlines()
        comments = [line for line in lines if line.startswith("# ")]
        for line in comments:
            key, _, value = line[2:].partition(": ")
            results.header[key] = value
        known = {str(value): value for row in table.rows + table.short_rows for value in row.values()}
        for line in csv.DictReader(lines[len(comments) :]):
            row = {key: known.get(line.pop(key), None) for key in table.rows[0]}
            fixed = {key: line.pop(key) for key in FIXED}
            if None in row.values() or fixed["peer"] not in [peer.label for peer in table.peers]:
                continue  # the table has changed since
            result = {key: float(value) for key, value in line.items() if value}
            results.rounds.append(
                Round(
                    fixed["host"],
                    row,
                    fixed["peer"],
                    int(fixed["start"]),
                    int(fixed["turn"]),
                    int(fixed["place"]),
                    fixed["status"],
                    result,
                )
            )
        return results

    # --- What there is -----------------------------------------------------------------------------------------------

    def hosts(self) -> list[str]:
        return list(dict.fromkeys(one.host for one in self.rounds))

    def rows(self, host: str) -> list[Row]:
        found: list[Row] = []
        for one in self.rounds:
            if one.host == host and one.row not in found:
                found.append(one.row)
        return found

    def of(self, host: str, row: Row, label: str) -> list[Round]:
        return [one for one in self.rounds if one.host == host and one.row == row and one.peer == label]

    def problem(self, host: str, row: Row, label: str) -> str | None:
        """Why there is no figure, or not of all rounds."""
        for one in self.of(host, row, label):
            if one.status != "ok":
                return one.status
        return None

    def values(self, host: str, row: Row, label: str, figure: str) -> dict[tuple[int, int], float]:
        found = {}
        for one in self.of(host, row, label):
            value = figure_of(figure, one.result) if one.status == "ok" else None
            if value is not None:
                found[one.start, one.turn] = value
        return found

    # --- What follows ------------------------------------------------------------------------------------------------

    def median(self, host: str, row: Row, label: str, figure: str) -> Interval | None:
        values = self.values(host, row, label, figure)
        return interval(list(values.values())) if values else None

    def ratio(
        self, host: str, row: Row, of: str, against: str, figure: str, other_row: Row | None = None
    ) -> Interval | None:
        """Of the rounds that both did in the same turn of the same start."""
        above = self.values(host, row, of, figure)
        below = self.values(host, other_row or row, against, figure)
        ratios = [above[turn] / below[turn] for turn in above if below.get(turn)]
        return interval(ratios) if ratios else None

    def subject(self, peer: Peer) -> str | None:
        """Whose figure is divided by this peer's."""
        first = self.table.peers[0].label
        return first if peer.versus is None and peer.label != first else peer.versus or None

    def per_op(self, host: str, row: Row, label: str, key: str) -> float | None:
        rounds = [one for one in self.of(host, row, label) if one.status == "ok" and key in one.result]
        ops = sum(one.result["ops"] for one in rounds)
        return sum(one.result[key] for one in rounds) / ops if ops else None

    def ops(self, host: str, row: Row, label: str) -> float:
        """Of its smallest round."""
        return min(one.result["ops"] for one in self.of(host, row, label) if one.status == "ok")

    def different_counts(self) -> list[str]:
        """Where a peer does not do the same as the one that it is compared with."""
        found = []
        for host in self.hosts():
            for row in self.rows(host):
                for peer in self.table.peers:
                    subject = self.subject(peer)
                    for key in self.table.same if subject else ():
                        mine, other = self.per_op(host, row, subject, key), self.per_op(host, row, peer.label, key)
                        if key in peer.differs or mine is None or other is None:
                            continue
                        # Where a round begins and ends may cost one or two.
                        allowed = max(self.table.tolerance * max(mine, other), 2 / self.ops(host, row, peer.label))
                        if abs(mine - other) > allowed:
                            found.append(
                                f"{self.place(host, row)}: {key} for each op: {subject} {short(mine)}, {peer.label} {short(other)}"
                            )
        return found

    def place(self, host: str, row: Row) -> str:
        return " ".join([self.table.name, *([host] if host else []), *(f"{key}={value}" for key, value in row.items())])

    def failures(self) -> list[str]:
        found = [
            f"{self.place(one.host, one.row)}: {one.peer}: {one.status.removeprefix('failed: ')}"
            for one in self.rounds
            if one.status.startswith("failed")
        ]
        return found + self.without_figure() + self.different_counts()

    def without_figure(self) -> list[str]:
        """Who works, and does not report what the table is about."""
        return [
            f"{self.place(host, row)}: {peer.label}: does not report {self.table.figure}"
            for host in self.hosts()
            for row in self.rows(host)
            for peer in self.table.peers
            if any(one.status == "ok" for one in self.of(host, row, peer.label))
            and not self.values(host, row, peer.label, self.table.figure)
        ]

    def judged(self) -> list[Judgement]:
        found = []
        for bar in self.table.bars:
            for host in self.hosts():
                for row in self.rows(host):
                    judgement = self.judge(bar, host, row) if bar.rows(row) else None
                    if judgement is not None:
                        found.append(judgement)
        return found

    def judge(self, bar: Bar, host: str, row: Row) -> Judgement | None:
        table = self.table
        of, figure = bar.of or table.peers[0].label, bar.figure or table.figure
        if isinstance(bar.against, str):
            found = self.ratio(host, row, of, bar.against, figure)
            what = f"{of} / {bar.against}"
        elif bar.against is not None:
            other = {**row, **bar.against}
            found = self.ratio(host, row, of, of, figure, other) if other != row and other in self.rows(host) else None
            what = f"{of} / the same at {' '.join(f'{key}={value}' for key, value in bar.against.items())}"
        else:
            found = self.median(host, row, of, figure)
            what = of
        if found is None or found.n < FEWEST:
            return None
        if figure != table.figure or bar.against is None:
            what += f", {figure}"
        limit = float(bar.at_most(row) if callable(bar.at_most) else bar.at_most)
        value = found.at(bar.end)
        time = bar.against is None and divisor("s", figure) > 1
        return Judgement(
            self.place(host, row),
            what,
            found,
            bar,
            limit,
            value >= limit if bar.at_least else value <= limit,
            table.unit if time else "",
        )


@dataclass(frozen=True)
class Judgement:
    place: str
    what: str
    found: Interval
    bar: Bar
    limit: float
    met: bool
    unit: str  # of a time; else ""

    def number(self, value: float) -> str:
        return short(value / DIVISORS.get(self.unit, 1.0))

    def found_text(self) -> str:
        return f"{self.number(self.found.median)} ({self.number(self.found.lower)} to {self.number(self.found.upper)})"

    def limit_text(self) -> str:
        return f"{'at least' if self.bar.at_least else 'at most'} {self.number(self.limit)}{' ' * bool(self.unit)}{self.unit}"

    def __str__(self) -> str:
        return (
            f"{'met   ' if self.met else 'MISSED'} {self.place}: {self.what}: {self.found_text()}, "
            f"{self.limit_text()} ({self.bar.end})"
        )


def short(value: float) -> str:
    """Four digits, or all before the point."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
