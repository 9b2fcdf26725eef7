#!/usr/bin/env python3
"""How large poise is, and what an event takes besides time: prints a table, and writes it as build/bench/size.csv.

    bench/size.py                 measures (half a minute)
    bench/size.py --publish       puts what was measured last into docs/performance.md

* text of the core at -Os: all of the library but net.c, as tools/check's part size counts it
* what poise adds to a component: bench/size/smallest_poll.c and smallest_poise.c, stripped, one less the other
* bytes that a queue has allocated for each source, and allocations while it is used: an allocator that counts
* system calls for each event: of a whole process, by ptrace; host calls: wasmtime's own log. Each of a long round less a
  short one, so that nothing else is in it. The programs are those of the tables, n = 100.

Something that cannot be measured here (no ptrace, too few descriptors, a program that is not built) is said, and is
status 1 if it is a program that fails.
"""
from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import machine
import report
from harness import Peer, Table
from peers import TOP, Failure, Folders, Process, Unsupported, numbers
from results import short
from run import all_tables, raise_limits

SOURCES = TOP / "bench" / "size"
FLAGS = ["-std=c11", "-D_GNU_SOURCE="]
SHORT_ROUND, LONG_ROUND = 1000, 5000  # events


class Unmeasurable(Exception):
    """Not here."""


@dataclass(frozen=True)
class Line:
    group: str
    what: str
    value: str
    detail: str = ""


class Measuring:
    def __init__(self, options: argparse.Namespace) -> None:
        self.folders = Folders(options.native, options.wasip2, options.mio)
        self.output = Path(options.output).resolve()
        self.scratch = self.output / "size"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.host = options.host
        self.lines: list[Line] = []
        self.failures: list[str] = []

    def attempt(self, what: str, measure: Callable[[], None]) -> None:
        print(f"size.py: {what}", file=sys.stderr, flush=True)
        try:
            measure()
        except Unmeasurable as reason:
            self.add(what.capitalize(), "not measured", "-", str(reason))
        except (Failure, Unsupported, OSError, subprocess.SubprocessError) as reason:
            words = (getattr(reason, "stderr", None) or "").strip().splitlines()[-3:]
            self.failures.append(f"{what}: {reason}" + "".join(f" / {word}" for word in words))

    def add(self, group: str, what: str, value: str, detail: str = "") -> None:
        self.lines.append(Line(group, what, value, detail))

    # --- Programs ----------------------------------------------------------------------------------------------------

    @staticmethod
    def run(*command: str | Path, seconds: float = 120, **more) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(word) for word in command],
            text=True,
            timeout=seconds,
            **{
                "check": True,
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **more,
            },
        )

    def native_program(self, name: str) -> Path:
        program = self.scratch / name
        self.run(
            "cc",
            *FLAGS,
            "-O2",
            f"-I{TOP}/include",
            SOURCES / f"{name}.c",
            self.folders.native / "libpoise.a",
            "-pthread",
            "-o",
            program,
        )
        return program

    def component(self, name: str, *flags: str) -> Path:
        program = self.scratch / f"{name}.wasm"
        # libc's poll(2) builds its lists on the stack.
        self.run(
            TOP / "tools/wasi-cc",
            "--no-poise",
            *FLAGS,
            "-Os",
            *flags,
            f"-I{TOP}/include",
            "-Wl,-z,stack-size=8388608",
            SOURCES / f"{name}.c",
            "-o",
            program,
            *([] if name == "smallest_poll" else [self.folders.wasip2 / "libpoise.a"]),
        )
        return program

    # --- Text --------------------------------------------------------------------------------------------------------

    def text(self, title: str, preset: str, size: str) -> None:
        build = self.scratch / f"core-{preset}"
        self.run(
            "cmake",
            "--preset",
            preset,
            "-S",
            TOP,
            "-B",
            build,
            "-DCMAKE_BUILD_TYPE=MinSizeRel",
            "-DPOISE_BUILD_TESTS=OFF",
            "-DPOISE_BUILD_EXAMPLES=OFF",
            "-DPOISE_RESOLVE=OFF",
            "-DPOISE_HTTP=OFF",
            cwd=TOP,
        )
        self.run("cmake", "--build", build, "--target", "poise", seconds=300)
        listed = self.run(size, build / "libpoise.a").stdout
        parts = {
            match[2]: int(match[1]) for match in re.finditer(r"^\s*(\d+)\s.*\s(\w+)\.(?:c\.)?o(?:bj)? ", listed, re.M)
        }
        if "queue" not in parts:
            raise Failure(f"{size} says something strange")
        core = sum(value for name, value in parts.items() if name != "net")
        largest = sorted((item for item in parts.items() if item[0] != "net"), key=lambda item: -item[1])
        self.add(
            "Text at -Os",
            title,
            f"{core:,} bytes",
            ", ".join(f"{name} {value:,}" for name, value in largest) + f"; not counted: net {parts.get('net', 0):,}",
        )

    def added(self) -> None:
        sizes = [self.component(name, "-s").stat().st_size for name in ("smallest_poll", "smallest_poise")]
        self.add(
            "A component",
            "what poise adds to one that waits with poll(2)",
            f"{sizes[1] - sizes[0]:,} bytes",
            f"{sizes[0]:,} with libc's poll(2) alone, {sizes[1]:,} with poise; -Os, stripped",
        )

    # --- Memory ------------------------------------------------------------------------------------------------------

    def memory(self, backend: str, title: str, *command: str | Path) -> None:
        allocated = {}
        for n in (1000, 10000, 16000):
            try:
                found = numbers(self.run(*command, backend, str(n)).stdout.split())
            except subprocess.CalledProcessError as failed:
                if n == 1000:
                    raise
                self.add("Memory", f"{title}, {n:,} sources", "-", (failed.stderr or "").strip().splitlines()[0][:80])
                continue
            allocated[n] = found
            each = (found["full"] - found["empty"]) / n
            self.add(
                "Memory",
                f"{title}, {n:,} sources",
                f"{each:.1f} bytes a source",
                f"{found['empty']:,.0f} for the empty queue",
            )
        calls = sum(found["allocs"] for found in allocated.values())
        events = sum(found["events"] for found in allocated.values())
        self.add("Memory", f"{title}, while in use", f"{calls:.0f} allocations", f"in {events:,.0f} events")

    # --- Calls for each event ----------------------------------------------------------------------------------------

    def peers(self, platform: str, workload: str) -> tuple[Table, list[Peer]]:
        for table in all_tables():
            if table.platform == platform and table.workload == workload:
                return table, list(table.peers)
        raise Failure(f"there is no table with the workload {workload}")

    def calls(
        self,
        group: str,
        platform: str,
        workload: str,
        active: int,
        counted: Callable[[list[str]], tuple[Counter, float]],
    ) -> None:
        """counted(COMMAND): the calls, by name, and the events that they were made for."""
        table, peers = self.peers(platform, workload)
        for peer in peers:
            row = {**table.rows[0], "n": 100, "active": active, **({"timed": 0} if platform == "wasi" else {})}
            calls, events = counted(self.folders.command(table, peer, row, self.host))
            each = {name: count / events for name, count in calls.items() if count > 0.0005 * events}
            names = ", ".join(
                f"{name} {short(round(value, 3))}" for name, value in sorted(each.items(), key=lambda item: -item[1])
            )
            self.add(group, f"{peer.label}, {active} of 100 active", short(round(sum(each.values()), 3)), names)

    def system_calls(self) -> None:
        tracer = self.native_program("syscalls")
        header = self.run("cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null").stdout
        names = {int(match[2]): match[1] for match in re.finditer(r"^#define __NR_(\w+) (\d+)$", header, re.M)}

        def whole(command: list[str], events: int) -> tuple[Counter, float]:
            counts = self.scratch / "counts"
            done = self.run(tracer, counts, *command, input=f"round {events}\n", stdin=None, check=False)
            if done.returncode == 3:
                raise Unmeasurable(done.stderr.strip() or "this kernel lets nobody trace")
            pairs = [map(int, line.split()) for line in counts.read_text().splitlines()]
            return Counter({names.get(number, str(number)): count for number, count in pairs}), ops_of(done.stdout)

        def counted(command: list[str]) -> tuple[Counter, float]:
            return less(whole(command, LONG_ROUND), whole(command, SHORT_ROUND))

        for active in (1, 100):
            self.calls("System calls for each event", "linux", "chain", active, counted)

    def host_calls(self) -> None:
        environment = {**os.environ, "WASMTIME_LOG": "wasmtime_wasi=trace"}
        call = re.compile(r'import\{module="([^"]*)" function="([^"]*)"\}: [^ ]*: call\b')

        def one_round(process: Process, events: int) -> tuple[Counter, float]:
            begin = os.fstat(process.errors.fileno()).st_size
            ops = process.round(events, 120)["ops"]
            found = Counter(
                f"{module} {function.partition('.')[2] or function}"
                for module, function in call.findall(process.said_on_errors(begin))
            )
            if not found:
                raise Unmeasurable("the host's log has no calls")
            return found, ops

        def counted(command: list[str]) -> tuple[Counter, float]:
            process = Process(command, environment)
            try:
                process.ready(120)
                few = one_round(process, SHORT_ROUND)
                return less(one_round(process, LONG_ROUND), few)
            finally:
                process.kill()

        for active in (1, 100):
            self.calls("Host calls for each event", "wasi", "active", active, counted)


def less(many: tuple[Counter, float], few: tuple[Counter, float]) -> tuple[Counter, float]:
    calls = Counter(many[0])
    calls.subtract(few[0])
    return calls, many[1] - few[1]


def ops_of(output: str) -> float:
    lines = output.splitlines()
    if not lines or not lines[0].startswith("ready"):
        raise Failure(f"the peer said {lines[:1]}")
    return sum(numbers(line.split()).get("ops", 0) for line in lines[1:])


def measure(options: argparse.Namespace) -> Measuring:
    raise_limits()
    found = Measuring(options)
    wasi_run = [TOP / "tools/wasi-run", "--host", options.host]
    found.attempt("text, native", lambda: found.text("native", "release", "size"))
    found.attempt("text, wasip2", lambda: found.text("WASI 0.2 (code)", "wasip2", "llvm-size-19"))
    found.attempt("the smallest component", found.added)
    found.attempt("memory, epoll", lambda: found.memory("epoll", "epoll", found.native_program("sources")))
    found.attempt("memory, poll", lambda: found.memory("poll", "poll", found.scratch / "sources"))
    found.attempt(
        "memory, wasip2", lambda: found.memory("wasip2", "wasip2, descriptors", *wasi_run, found.component("sources"))
    )
    found.attempt(
        "memory, pollables",
        lambda: found.memory("wasip2", "wasip2, pollables", *wasi_run, found.component("pollables")),
    )
    found.attempt("system calls", found.system_calls)
    found.attempt("host calls", found.host_calls)
    return found


# --- Showing ----------------------------------------------------------------------------------------------------------


def show(lines: list[Line]) -> None:
    group = ""
    for line in lines:
        if line.group != group:
            group = line.group
            print(f"\n{group}")
        print(f"  {line.what:<46} {line.value:>22}  {line.detail}")


def section(lines: list[Line], header: dict[str, str]) -> str:
    text = ["| | | | |", "|---|---|---:|---|"]
    group = ""
    for line in lines:
        text.append(f"| {line.group if line.group != group else ''} | {line.what} | {line.value} | {line.detail} |")
        group = line.group
    about = "; ".join(
        value if key in ("machine", "date", "kernel") else f"{key} {value}" for key, value in header.items()
    )
    return "\n".join([*text, "", f"`bench/size.py`: {about}."]) + "\n"


def write(path: Path, lines: list[Line], header: dict[str, str]) -> None:
    with path.open("w", newline="") as file:
        for key, value in header.items():
            file.write(f"# {key}: {value}\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("group", "what", "value", "detail"))
        out.writerows((line.group, line.what, line.value, line.detail) for line in lines)


def read(path: Path) -> tuple[list[Line], dict[str, str]]:
    text = path.read_text().splitlines()
    header = dict(line[2:].split(": ", 1) for line in text if line.startswith("# "))
    return [Line(**line) for line in csv.DictReader(line for line in text if not line.startswith("# "))], header


def publish(path: Path) -> None:
    report.put(TOP / "docs/performance.md", "size", "size", "Bytes and calls", section(*read(path)))
    print("docs/performance.md: size")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", metavar="DIR", default=str(TOP / "build/release"))
    parser.add_argument("--wasip2", metavar="DIR", default=str(TOP / "build/wasip2"))
    parser.add_argument("--mio", metavar="DIR", default=str(TOP / "build/mio"))
    parser.add_argument("--output", metavar="DIR", default=str(TOP / "build/bench"))
    parser.add_argument("--host", default="wasmtime-48", help="a wasmtime (wasmtime-48)")
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    path = Path(options.output) / "size.csv"
    if options.publish:
        publish(path)
        return 0
    found = measure(options)
    header = {**machine.describe("linux"), **machine.describe("wasi")}
    show(found.lines)
    write(path, found.lines, header)
    for failure in found.failures:
        print(f"not ok {failure}")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
