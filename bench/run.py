#!/usr/bin/env python3
"""Runs the benchmark suite: all peers of a table's row at the same time, taking turns, and prints what came of it.

    bench/run.py                          all tables; `make bench` builds what they need, and then does this
    bench/run.py --tables chain,timers    some
    bench/run.py --list                   their names, rows and peers
    bench/run.py --short                  tiny: shows only that everything works (part of `make check`)
    bench/run.py --report                 prints what the last run measured (its CSVs) once more
    bench/run.py --publish                puts that, with the plots, into docs/performance.md and docs/performance/

The results go to build/bench: TABLE.csv has each round, TABLE.svg is a plot. A missed bar is no failure. What is: a peer
that crashes, takes too long, says something strange, or does other reads and writes than the one it is compared with.
Then the exit status is 1.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import machine
import report
from harness import Row, Table
from peers import TOP, Failure, Folders, Process, Unsupported
from results import FEWEST, Results, Round

MODULES = ("tables_linux", "tables_wasi")
GUESS = 28.0  # seconds for a row of which nothing is known yet


def all_tables() -> list[Table]:
    found: list[Table] = []
    for name in MODULES:
        found += __import__(name).TABLES
    for table in found:
        table.check()
    names = [table.name for table in found]
    if len(set(names)) != len(names):
        raise ValueError(f"two tables have the same name: {sorted(names)}")
    return found


class Progress:
    """One line on standard error: what runs, and when all will be done, judged by how long it took the last time."""

    def __init__(self, jobs: list[str], memory: Path, short: bool) -> None:
        self.jobs, self.memory = list(jobs), memory
        self.key = "short" if short else "full"
        self.known: dict[str, float] = {}
        try:
            self.known = json.loads(memory.read_text()).get(self.key, {})
        except (OSError, ValueError):
            pass
        self.begin = self.job_begin = time.monotonic()
        self.done = 0
        self.expected_of_done = self.taken = 0.0
        self.shown = self.fraction = 0.0

    def guess(self, job: str) -> float:
        return self.known.get(job, 1.0 if self.key == "short" else GUESS)

    def left(self) -> float:
        pace = self.taken / self.expected_of_done if self.expected_of_done else 1.0
        rest = sum(self.guess(job) for job in self.jobs[self.done + 1 :]) * pace
        if self.done == len(self.jobs):
            return rest
        now = time.monotonic() - self.job_begin
        if self.fraction > 0:
            return rest + now * (1 - self.fraction) / self.fraction
        return rest + max(self.guess(self.jobs[self.done]) * pace - now, 0.0)

    def show(self, what: str, fraction: float) -> None:
        """fraction: how much of the row is done."""
        self.fraction = fraction
        terminal = sys.stderr.isatty()
        if time.monotonic() - self.shown < (0.2 if terminal else 30):
            return
        self.shown = time.monotonic()
        text = f"[{self.done + 1}/{len(self.jobs)}] {what}; {clock(self.shown - self.begin)} gone, about {clock(self.left())} left"
        print(
            f"\r\033[K{text[:shutil.get_terminal_size().columns - 1]}" if terminal else text,
            end="" if terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def start(self) -> None:
        self.job_begin = time.monotonic()
        self.fraction = 0.0

    def finish(self, job: str) -> None:
        took = time.monotonic() - self.job_begin
        self.expected_of_done += self.guess(job)
        self.taken += took
        self.known[job] = took
        self.done += 1
        everything = {}
        try:
            everything = json.loads(self.memory.read_text())
        except (OSError, ValueError):
            pass
        everything[self.key] = self.known
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        self.memory.write_text(json.dumps(everything, indent=1, sort_keys=True))
        self.clear()

    @staticmethod
    def clear() -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def order(n: int, turn: int) -> list[int]:
    """Rotated in each turn; and after a full cycle the other way round, so that nobody always follows the same one."""
    rotated = [(turn + i) % n for i in range(n)]
    return rotated[::-1] if turn // n % 2 else rotated


class Runner:
    """One row of a table on one host."""

    def __init__(
        self, table: Table, host: str, row: Row, folders: Folders, short: bool, results: Results, tell
    ) -> None:
        self.table, self.host, self.row = table, host, row
        self.folders, self.results, self.tell = folders, results, tell
        self.setup_seconds = min(table.setup_seconds, 30.0) if short else table.setup_seconds
        self.round_seconds = min(table.round_seconds, 20.0) if short else table.round_seconds
        count = table.short_count if short else table.count
        self.count = count(row) if callable(count) else count
        self.peers = [peer for peer in table.peers if peer.rows(row)]
        self.out: set[str] = set()  # labels of those that failed, or do not support it

    def note(self, label: str, start: int, turn: int, place: int, status: str, result: dict[str, float]) -> None:
        self.results.rounds.append(Round(self.host, self.row, label, start, turn, place, status, result))

    def fail(self, label: str, start: int, turn: int, reason: Exception) -> None:
        word = "unsupported" if isinstance(reason, Unsupported) else "failed"
        self.note(label, start, turn, 0, f"{word}: {reason}", {})
        self.out.add(label)

    def run(self, starts: int, turns: int) -> None:
        for start in range(starts):
            self.one_start(start, turns, starts)

    def one_start(self, start: int, turns: int, starts: int) -> None:
        running: dict[str, Process] = {}
        try:
            place = f"{self.results.place(self.host, self.row)}, start {start + 1} of {starts}"
            self.tell(f"{place}: setting up", start / starts)
            self.launch(start, running)
            for turn in range(turns):
                self.tell(f"{place}, turn {turn + 1} of {turns}", (start + turn / turns) / starts)
                self.one_turn(start, turn, running)
            for label in list(running):
                wrong = running[label].end()
                if wrong:
                    self.fail(label, start, turns, Failure(wrong))
        finally:
            for process in running.values():
                process.kill()

    def launch(self, start: int, running: dict[str, Process]) -> None:
        for peer in self.peers:
            if peer.label not in self.out:
                try:
                    running[peer.label] = Process(self.folders.command(self.table, peer, self.row, self.host))
                except (Failure, OSError) as reason:
                    self.fail(peer.label, start, 0, reason)
        for label in list(running):
            try:
                running[label].ready(self.setup_seconds)
            except (Failure, Unsupported) as reason:
                self.fail(label, start, 0, reason)
                running.pop(label).kill()

    def one_turn(self, start: int, turn: int, running: dict[str, Process]) -> None:
        for place, i in enumerate(order(len(self.peers), start + turn)):
            peer = self.peers[i]
            if peer.label not in running:
                continue
            share = peer.share(self.row) if callable(peer.share) else peer.share
            try:
                result = running[peer.label].round(max(1, round(self.count * share)), self.round_seconds)
                self.note(peer.label, start, turn, place, "ok", result)
            except Failure as reason:
                self.fail(peer.label, start, turn, reason)
                running.pop(peer.label).kill()


# --- What is asked for ------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", metavar="NAME,...", help="only these")
    parser.add_argument("--platform", choices=("linux", "wasi"), help="only the tables of this one")
    parser.add_argument("--hosts", metavar="NAME,...", help="of a WASI table's hosts only these")
    parser.add_argument("--rows", metavar="KEY=VALUE,...", help="of the rows only those with these values")
    parser.add_argument(
        "--without", metavar="NAME,...", default="", help="leave out these peers (a label, or a program such as mio)"
    )
    parser.add_argument("--starts", type=int, help="starts of the processes for a row (a table's own: mostly 6)")
    parser.add_argument("--turns", type=int, help="turns in each start (mostly 5)")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument(
        "--native", metavar="DIR", default=str(TOP / "build/release"), help="the native build (build/release)"
    )
    parser.add_argument(
        "--wasip2", metavar="DIR", default=str(TOP / "build/wasip2"), help="the one for WASI (build/wasip2)"
    )
    parser.add_argument(
        "--mio", metavar="DIR", default=str(TOP / "build/mio"), help="cargo's target folder (build/mio)"
    )
    parser.add_argument("--output", metavar="DIR", help="where the results are (build/bench, build/bench/short)")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Table]:
    tables = all_tables()
    names = options.tables.split(",") if options.tables else [table.name for table in tables]
    unknown = set(names) - {table.name for table in tables}
    if unknown:
        sys.exit(f"run.py: there is no table {', '.join(sorted(unknown))}; bench/run.py --list names them")
    found = [table for table in tables if table.name in names and options.platform in (None, table.platform)]
    left_out = set(options.without.split(","))
    return [
        replace(table, peers=tuple(peer for peer in table.peers if not {peer.label, peer.program} & left_out))
        for table in found
    ]


def rows_of(table: Table, options: argparse.Namespace) -> list[Row]:
    rows = table.short_rows if options.short else table.rows
    wanted = dict(word.split("=", 1) for word in options.rows.split(",")) if options.rows else {}
    return [row for row in rows if all(str(row.get(key)) == value for key, value in wanted.items())]


def hosts_of(table: Table, options: argparse.Namespace) -> list[str]:
    if table.platform == "linux":
        return [""]
    return [host for host in table.hosts if not options.hosts or host in options.hosts.split(",")]


def list_tables(tables: list[Table], options: argparse.Namespace) -> None:
    for table in tables:
        print(f"{table.name}: {table.title} ({table.platform}, {len(rows_of(table, options))} rows)")
        print(f"    {', '.join(peer.label for peer in table.peers)}")


def raise_limits() -> None:
    """9,000 socket pairs in each process are 18,000 descriptors. Who is root may raise the hard limit, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in ((1 << 17, 1 << 17), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted[0]), max(hard, wanted[1])))
            return
        except (ValueError, OSError):
            continue


# --- What is done -----------------------------------------------------------------------------------------------------


def measure(tables: list[Table], options: argparse.Namespace, output: Path) -> list[Results]:
    jobs = [
        (table, host, row) for table in tables for host in hosts_of(table, options) for row in rows_of(table, options)
    ]
    folders = Folders(options.native, options.wasip2, options.mio)
    name = [f"{table.name} {host} {report.row_text(row)}" for table, host, row in jobs]
    progress = Progress(name, output / "durations.json", options.short)
    given = [options.short, options.starts, options.turns, options.rows, options.hosts, options.without]
    print(f"{len(tables)} tables, {len(jobs)} rows: about {clock(progress.left())} min", file=sys.stderr, flush=True)
    command = shlex.join(["bench/run.py", *sys.argv[1:]]) if any(given) else "make bench"
    found: dict[str, Results] = {}
    heading = ""
    for job, (table, host, row) in enumerate(jobs):
        if table.name not in found:
            own = f"{command} TABLES={table.name}" if command == "make bench" else command
            found[table.name] = Results(
                table, {"table": table.name, "command": own, **machine.describe(table.platform)}
            )
        results = found[table.name]
        progress.start()
        runner = Runner(table, host, row, folders, options.short, results, progress.show)
        runner.run(
            options.starts or (1 if options.short else table.starts),
            options.turns or (2 if options.short else table.turns),
        )
        progress.finish(name[job])
        results.write(output / f"{table.name}.csv")
        if heading != (heading := report.heading(results, host)):
            print(f"\n{heading}")
        print(report.row_lines(results, host, row), flush=True)
    return list(found.values())


def saved(tables: list[Table], output: Path) -> list[Results]:
    found = []
    for table in tables:
        path = output / f"{table.name}.csv"
        if path.is_file():
            found.append(Results.read(table, path))
        else:
            print(f"run.py: {table.name} has not been measured: there is no {table.name}.csv", file=sys.stderr)
    return found


def plots(results: list[Results], output: Path, required: bool) -> list[Path]:
    """Drawn by matplotlib, which tools/setup --bench puts into a folder of its own."""
    toolchain = Path(os.environ.get("POISE_TOOLCHAIN", TOP / ".toolchain"))
    names = [one.table.name for one in results if one.table.plots]
    if not names:
        return []
    if not (toolchain / "matplotlib").is_dir():
        print("run.py: no plots: tools/setup --bench installs what draws them", file=sys.stderr)
        return []
    environment = {**os.environ, "PYTHONPATH": str(toolchain / "matplotlib"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["/usr/bin/python3", str(TOP / "bench/plots.py"), str(output), *names],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=required,
    )
    return [Path(line) for line in done.stdout.splitlines()]


def publish(results: list[Results], pictures: list[Path]) -> None:
    document, folder = TOP / "docs/performance.md", TOP / "docs/performance"
    folder.mkdir(exist_ok=True)
    report.put(document, "bars", "bars", "The bars, table by table", report.bars(results, document))
    for one in results:
        if not one.table.publish:
            continue
        mine = [path for path in pictures if path.stem == one.table.name or path.stem.startswith(one.table.name + ".")]
        mine = [path for path, plot in zip(mine, one.table.plots) if plot.publish]
        for path in mine:
            shutil.copyfile(path, folder / path.name)
        report.put(document, one.table.platform, one.table.name, one.table.title, report.section(one, mine))
        print(f"docs/performance.md: {one.table.name}")


def conclude(results: list[Results], short: bool) -> int:
    failures = [text for one in results for text in one.failures()]
    if not short:
        judged = [judgement for one in results for judgement in one.judged()]
        if judged:
            print("\nThe bars:")
        for judgement in judged:
            print(f"  {judgement}")
        if not judged and any(one.table.bars for one in results):
            print(f"\nThe bars are not judged: there are fewer than {FEWEST} rounds of each")
        if judged:
            print(f"{sum(one.met for one in judged)} of {len(judged)} bars met")
    print()
    for text in failures:
        print(f"not ok {text}")
    rows = sum(len(one.rows(host)) for one in results for host in one.hosts())
    print(f"{len(results)} tables with {rows} rows were run, {len(failures)} failures")
    return 1 if failures or not results else 0


def main() -> int:
    options = arguments()
    output = Path(options.output or TOP / ("build/bench/short" if options.short else "build/bench")).resolve()
    tables = chosen(options)
    if options.list:
        list_tables(tables, options)
        return 0
    if options.report or options.publish:
        results = saved(tables, output)
        if options.publish:
            publish(results, plots(results, output, required=True))
            return 0
        for one in results:
            for host in one.hosts():
                print(f"\n{report.heading(one, host)}")
                for row in one.rows(host):
                    print(report.row_lines(one, host, row))
        return conclude(results, options.short)
    raise_limits()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that no peer is left behind
    try:
        results = measure(tables, options, output)
    except KeyboardInterrupt:
        return 130
    if not options.no_plots:
        plots(results, output, required=False)
    return conclude(results, options.short)


if __name__ == "__main__":
    sys.exit(main())
