#!/usr/bin/env python3
"""Runs the test program on every backend and host, and prints the table promise x (backend, host).

    tests/run.py --native build/native --wasip2 build/wasip2 --wasip1 build/wasip1

Each is a build folder (the programs are in its tests/). One that is left out is not run. The columns are epoll and poll
(native), BACKEND@HOST for each host of the component, and poll@wasip1.

A program that crashes or hangs has failed the test that was running; the run goes on with the next one. Each reason for
a skip has to stand word for word in docs/platforms.md. After the table come the failed tests, each with where, why and
(where it crashed or hangs) its last words. The last line is "N passed, N failed, N skipped"; the exit status is 1 if
anything failed.
"""
import argparse
import os
import queue
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SUMMARY = re.compile(r"^\d+ passed, \d+ failed, \d+ skipped$")
RESULT = re.compile(r"^(ok|not ok|skip) (\S+) ([^\s:]+)(?:: (.*))?$")

TELLING = re.compile(r"ERROR: |SUMMARY: |WARNING: Thread|runtime error: |^ +#\d|wasm trap|\.wasm!|at core\.wasm")


class Column:
    """One backend on one host: how to run the program there, and what came of it."""

    def __init__(self, name, command, program_options, silence):
        self.name = name
        self.command = command  # up to the program and with it
        self.options = program_options
        self.silence = silence  # seconds without a line: it hangs
        self.results = {}  # (group, test): (outcome, text)
        self.seconds = 0.0
        self.complaints = []

    def count(self, outcome, group=None):
        return sum(1 for (g, _), (o, _) in self.results.items() if o == outcome and group in (None, g))


class Program:
    """A running test program: its lines, and silence as None."""

    def __init__(self, column, arguments, folder):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            column.command + column.options + arguments, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put("")

    def next(self, seconds):
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def feed(self):
        try:
            self.process.stdin.write(b"x\n")
            self.process.stdin.flush()
        except OSError:
            pass

    def end(self, kill):
        if kill:
            self.process.kill()
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def last_words(self, n):
        """At most so many lines of standard error: what a sanitizer or a host tells of a fault, else the last ones."""
        self.errors.seek(0)
        words = self.errors.read().decode(errors="replace").strip().splitlines()
        return [word for word in words if TELLING.search(word)][:n] or words[-n:]


class Peer:
    """The native process at the other end of the fairness test's connections."""

    def __init__(self, program):
        self.process = None
        self.port = None
        if program is not None:
            self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.port = self.process.stdout.readline().decode().strip()

    def options(self):
        return ["--peer", self.port] if self.port else []

    def end(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def run_once(column, arguments, folder):
    """Runs the program from some test on. Returns the test that was running when it ended too early, or None."""
    program = Program(column, arguments, folder)
    running = None
    while True:
        line = program.next(column.silence)
        if line is None or (line == "" and not program.reader.is_alive() and program.lines.empty()):
            status = program.end(kill=line is None)
            if running is None:
                column.complaints.append(f"ended before any test, with status {status}")
                column.complaints += program.last_words(10)
                return None
            if running not in column.results:
                why = f"hangs for {column.silence} s" if line is None else f"crashed, status {status}"
                column.results[running] = ("not ok", why + "".join("\n    | " + w for w in program.last_words(12)))
            return running
        if line == "feed":
            program.feed()
        elif SUMMARY.match(line):
            status = program.end(kill=False)
            failed = any(outcome == "not ok" for outcome, _ in column.results.values())
            if status != 0 and not failed:  # a sanitizer, say
                column.complaints.append(f"all tests passed, but the exit status is {status}")
                column.complaints += program.last_words(40)
            return None
        elif line.startswith("run "):
            running = tuple(line.split()[1:3])
        else:
            result = RESULT.match(line)
            if result and result.group(2, 3) == running:
                column.results[running] = (result.group(1), result.group(4) or "")


def list_tests(column, names, folder):
    """What the program has there, as (group, test), in the order in which it runs them."""
    listed = subprocess.run(column.command + column.options + ["--list"] + names, cwd=folder, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    tests = [tuple(line.split()) for line in listed.stdout.splitlines()]
    if listed.returncode != 0 or not tests:
        column.complaints.append(f"--list gave nothing, with status {listed.returncode}")
        column.complaints += listed.stderr.splitlines()[-10:]
    return tests


def run_column(column, names, peer_program, folder, tests=None):
    """tests: what list_tests gave, if that is known already."""
    start = time.monotonic()
    if tests is None:
        tests = list_tests(column, names, folder)
    peer = Peer(peer_program)
    arguments = ["--feeder"] + peer.options()
    rest = tests
    while rest:
        broken = run_once(column, arguments + ["--from", ".".join(rest[0])] + names, folder)
        if broken is None:
            break
        rest = rest[tests.index(broken) + 1 - (len(tests) - len(rest)):]
    peer.end()
    for test in tests:
        if test not in column.results:
            column.results[test] = ("not ok", "did not run")
    column.seconds = time.monotonic() - start


def find(folder, name):
    for path in (Path(folder) / "tests" / name, Path(folder) / name):
        if path.is_file():
            return str(path.resolve())
    sys.exit(f"{Path(sys.argv[0]).name}: there is no tests/{name} in {folder}: build it first")


def columns(options, folder, name="tests", environment=lambda column: {}, host_options=()):
    """The columns that the options ask for, of the program tests/NAME; environment: what it gets in addition there."""
    def variables(column):
        return [f"{key}={value}" for key, value in environment(column).items()]

    def component(column, host, program, arguments, silence):
        command = [wasi_run, "--host", host, "--dir", f"{folder}::.", *host_options]
        command += [f"--env={variable}" for variable in variables(column)]
        return Column(column, command + [program], arguments, silence)

    wasi_run = str(TOP / "tools" / "wasi-run")
    found = []
    if options.native:
        for backend in ("epoll", "poll"):
            given = variables(backend)
            command = (["env"] + given if given else []) + [find(options.native, name)]
            found.append(Column(backend, command, ["--backend", backend], 90))
    if options.wasip2:
        program = find(options.wasip2, f"{name}.wasm")
        for host in options.hosts.split(","):
            slow = host == "jco"
            for backend in ("wasip2", "poll"):
                arguments = ["--backend", backend, "--host", host] + (["--scale", "20"] if slow else [])
                found.append(component(f"{backend}@{host}", host, program, arguments, 120 if slow else 60))
    if options.wasip1:
        host = "wasmtime-48"
        found.append(component("poll@wasip1", host, find(options.wasip1, f"{name}.wasm"),
                               ["--backend", "poll", "--host", host], 60))
    if options.columns:
        wanted = options.columns.split(",")
        found = [column for column in found if column.name in wanted]
    return found


def cell(column, group):
    passed, failed, skipped = (column.count(outcome, group) for outcome in ("ok", "not ok", "skip"))
    parts = [str(passed)] if passed or not (failed or skipped) else []
    if failed:
        parts.append(f"{failed} FAILED")
    if skipped:
        parts.append(f"{skipped} skipped")
    return ", ".join(parts) if passed or failed or skipped else "-"


def order(group):
    return (0, int(group[1:]), "") if re.fullmatch(r"G\d+", group) else (1, 0, group)


def print_table(found, what="promise"):
    groups = sorted({group for column in found for group, _ in column.results}, key=order)
    rows = [[""] + [column.name for column in found]]
    rows += [[group] + [cell(column, group) for column in found] for group in groups]
    rows += [["sum"] + [cell(column, None) for column in found]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\npassed (failed, skipped), by {what} and by backend@host:\n")
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def shortened(tests):
    if len(tests) <= 12:
        return " ".join(tests)
    groups = {}
    for test in tests:
        group = test.split(".")[0]
        groups[group] = groups.get(group, 0) + 1
    return f"{len(tests)} tests, of " + ", ".join(f"{group} {n}" for group, n in groups.items())


def print_skips(found):
    """Returns how many reasons stand nowhere in docs/platforms.md."""
    reasons = {}
    for column in found:
        for (group, test), (outcome, text) in column.results.items():
            if outcome == "skip":
                reasons.setdefault(text, {}).setdefault(column.name, []).append(f"{group}.{test}")
    if not reasons:
        return 0
    document = TOP / "docs" / "platforms.md"
    words = " ".join(document.read_text().split()) if document.is_file() else ""
    missing = 0
    print("\nskipped, with the reasons as in docs/platforms.md:\n")
    for reason, where in sorted(reasons.items()):
        known = " ".join(reason.split()) in words
        missing += not known
        print(reason + ("" if known else "   <- STANDS NOT IN docs/platforms.md"))
        by_tests = {}
        for name, tests in where.items():
            by_tests.setdefault(" ".join(tests), []).append(name)
        for tests, names in by_tests.items():
            print(f"    {', '.join(names)}: {shortened(tests.split())}")
    return missing


def parser_of(text):
    """The options that every runner of such a program has."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", metavar="DIR")
    parser.add_argument("--wasip2", metavar="DIR")
    parser.add_argument("--hosts", default="wasmtime-48,wasmtime-47,jco", help="of the component (%(default)s)")
    parser.add_argument("--columns", metavar="NAME,...", help="only these columns")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="columns at a time (%(default)s)")
    parser.add_argument("--verbose", action="store_true", help="print each test's outcome")
    return parser


def run_columns(found, options, names, peer, folder):
    waiting, output = queue.Queue(), threading.Lock()
    for column in sorted(found, key=lambda column: "jco" not in column.name):  # the slowest first
        waiting.put(column)

    def work():
        while True:
            try:
                column = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                run_column(column, names, peer, folder)
            except Exception as error:  # a column is lost, not the whole run
                column.complaints.append(f"run.py: {error!r}")
            with output:
                print(f"{column.name}: {column.count('ok')} passed, {column.count('not ok')} failed, "
                      f"{column.count('skip')} skipped, {column.seconds:.0f} s", flush=True)
                for (group, test), (outcome, text) in column.results.items():
                    if outcome == "not ok" or options.verbose:
                        print(f"  {outcome} {group} {test}{': ' if text else ''}{text}", flush=True)
                for line in column.complaints:
                    print(f"  {line}", flush=True)

    workers = [threading.Thread(target=work) for _ in range(max(1, options.jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def print_failures(found):
    """Once more, at the end: often that is all that is kept of a long output. tools/check looks for these lines."""
    lines = [f"not ok {group}.{test} on {column.name}: {text}" for column in found
             for (group, test), (outcome, text) in column.results.items() if outcome == "not ok"]
    lines += [f"not ok {column.name}: " + "\n    | ".join(column.complaints) for column in found if column.complaints]
    if lines:
        print("\nfailed:\n\n" + "\n".join(lines))


def report(found, what="promise"):
    """Prints the table, the skips, the failures and the sum; returns the exit status."""
    print_table(found, what)
    failed = print_skips(found)
    print_failures(found)
    failed += sum(column.count("not ok") + bool(column.complaints) for column in found)
    passed, skipped = (sum(column.count(outcome) for column in found) for outcome in ("ok", "skip"))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--wasip1", metavar="DIR")
    parser.add_argument("--name", default="tests", help="of the program: tests or mio (%(default)s)")
    parser.add_argument("--only", metavar="TEST", nargs="+", default=[], help="only these groups (G5) or tests")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # what hosts inherit: fairness wants 10,000 descriptors
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 1 << 20, most))
    peer = find(options.native, "peer") if options.native and options.name == "tests" else None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "poise-test.file").write_text("some")
        found = columns(options, folder, options.name)
        if not found:
            parser.error("nothing to run: name at least one build folder")
        run_columns(found, options, options.only, peer, folder)
    return report(found, "promise" if options.name == "tests" else "file")


if __name__ == "__main__":
    sys.exit(main())
