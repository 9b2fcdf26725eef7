#!/usr/bin/env python3
"""Runs mio's tests, as tests/mio has them in C, on every backend and host, and keeps docs/mio.md.

    tests/mio.py --native build/native --wasip2 build/wasip2             runs them
    tests/mio.py --native build/native --wasip2 build/wasip2 --check     the same, and docs/mio.md has to say so
    tests/mio.py --native build/native --wasip2 build/wasip2 --update    the same, and writes docs/mio.md
    tests/mio.py --native build/native --wasip2 build/wasip2 --soak [N]  all of them N times in a row (50; jco a fifth)

Each is a build folder with the program `mio` in its tests/. One that is left out is not run, but --check and --update
want both. The columns are those of tests/run.py: epoll and poll (native), wasip2@HOST and poll@HOST in a component.

tests/mio/rows.toml has a row for each of mio's tests, and says what it means for poise. One row, one function: a
function without a row, a row without its function, a result that the row does not allow, or none: each is a failure. So
is a test that does not fail with the program's option --wrong, which negates what the test is about.

With --soak each round is one process, or one component, for all of the tests. It ends with what failed in which round.
"""
import difflib
import re
import sys
import tempfile
import textwrap
import threading
import time
import tomllib
from collections import Counter
from pathlib import Path

import run  # tests/run.py: the columns and the table

TOP = run.TOP
ROWS = TOP / "tests" / "mio" / "rows.toml"
DOCUMENT = TOP / "docs" / "mio.md"
PLATFORMS = TOP / "docs" / "platforms.md"
PROMISES = TOP / "docs" / "promises.md"
MEND = "tests/mio.py --native build/native --wasip2 build/wasip2 --update"

CLASSES = ("all", "native", "differs", "rust", "os")
MEANT = ("all", "native", "differs")  # those have a function
LACKS = "WASI has no "  # so begins the reason why a native test is skipped under WASI, and no other test is
MACHINE = "the machine "  # so begins a reason that says nothing about backend or host
WRONG = "(--wrong)"  # so ends what a point says that was negated


# --- rows and functions -----------------------------------------------------------------------------------------------

class Row:
    def __init__(self, file, name, said):
        self.file, self.name = file, name
        self.kind, self.mio = said.get("class"), said.get("mio")
        self.checks, self.remark, self.promise, self.reason = (
            " ".join(said.get(key, "").split()) for key in ("checks", "remark", "promise", "reason"))
        self.keys = set(said)
        self.meant = self.kind in MEANT

    def __str__(self):
        return f"{self.file}.{self.name}"

    def faults(self):
        wanted = {"class", "mio", "checks"}
        wanted |= {"promise"} if self.kind == "differs" else set() if self.meant else {"reason"}
        allowed = wanted | ({"remark"} if self.meant else set())
        if self.kind not in CLASSES:
            yield f"class is one of {', '.join(CLASSES)}"
        if self.mio not in ("runs", "ignored", "not compiled"):
            yield 'mio is "runs", "ignored" or "not compiled"'
        for key in sorted(wanted - self.keys):
            yield f"{key} is missing"
        for key in sorted(self.keys - allowed):
            yield f"class {self.kind} has no {key}"
        if self.kind == "differs" and not re.match(r"G\d+: ", self.promise):
            yield 'promise is like "G14: watching again replaces"'


def read_rows():
    """What the file says of mio, its rows by (file, name), and what is wrong with them."""
    files = tomllib.loads(ROWS.read_text())
    mio = files.pop("mio")
    rows = {(file, name): Row(file, name, said) for file, names in files.items() for name, said in names.items()}
    faults = [f"{ROWS.relative_to(TOP)}: [{row}]: {fault}" for row in rows.values() for fault in row.faults()]
    if len(rows) != mio["tests"]:
        faults.append(f"{ROWS.relative_to(TOP)} has {len(rows)} rows, and mio {mio['tests']} tests")
    return mio, rows, faults


def check_functions(rows, listed):
    """One row, one function; listed: (group, test) of the program."""
    where = {}
    for path in sorted((TOP / "tests" / "mio").glob("*.c")):
        for test in re.findall(r"^TEST\((\w+),\s*(\w+)\)", path.read_text(), re.M):
            where[test] = path.relative_to(TOP)
    for test in listed:
        at, name = where.get(test, "the program"), "({}, {})".format(*test)
        if test not in rows:
            yield (f"{at} has TEST{name} without a row: name it as mio does, or add [{'.'.join(test)}] to "
                   f"{ROWS.relative_to(TOP)}")
        elif not rows[test].meant:
            yield f"{at} has TEST{name}, but its row is of class {rows[test].kind}: make it all, native or differs"
        elif test in where and at.stem != test[0]:
            yield f"{at} has TEST{name}: move it to tests/mio/{test[0]}.c"
    for key, row in rows.items():
        if row.meant and key not in listed:
            yield f"{row} has no function: write TEST({row.file}, {row.name}) in tests/mio/{row.file}.c"


# --- results ----------------------------------------------------------------------------------------------------------

def is_native(column):
    return "@" not in column.name


def host_of(column):
    """wasmtime-48 of wasip2@wasmtime-48."""
    return column.name.partition("@")[2]


def check_result(row, column):
    """Why the row does not allow what came of it there, or None. That it failed, or is missing, is told elsewhere."""
    outcome, text = column.results.get((row.file, row.name), (None, ""))
    lacking = outcome == "skip" and text.startswith(LACKS)
    if outcome in (None, "not ok") or (outcome == "skip" and text.startswith(MACHINE)):
        return None
    if is_native(column):
        return f'skipped natively: "{text}"' if outcome == "skip" else None
    if row.kind == "native" and not lacking:
        return f'class native: SKIP("{LACKS}...") under WASI, or make the row all'
    if row.kind != "native" and lacking:
        return f'skipped for what WASI has not got ("{text}"): make the row native, or test what is there'
    host = host_of(column).split("-")[0]
    if row.kind != "native" and outcome == "skip" and host not in text:
        return f'skipped, and the reason does not name {host}, whose fault it has to be: "{text}"'
    return None


def check_results(rows, found):
    for column in found:
        for row in rows.values():
            why = check_result(row, column) if row.meant else None
            if why:
                yield f"{row} on {column.name}: {why}"
        none = [str(row) for row in rows.values() if row.meant and (row.file, row.name) not in column.results]
        if none:
            yield f"no result on {column.name} (build it anew?): {run.shortened(none)}"


def wrong(found, folder):
    """With --wrong each test has to fail, and at a point. Returns how many did, and what did not."""
    told, faults = 0, []
    for column in found:
        column = run.Column(column.name, column.command, column.options + ["--wrong"], column.silence)
        run.run_column(column, [], None, folder)
        for test, (outcome, text) in column.results.items():
            name = f"{'.'.join(test)} on {column.name}"
            if outcome == "not ok" and text.endswith(WRONG):
                told += 1
            elif outcome == "not ok":
                faults.append(f"--wrong: {name} fails elsewhere than at a POINT: {text}")
            elif outcome == "ok":
                faults.append(f"--wrong: {name} passes: it has no POINT, or reaches none")
        faults += [f"--wrong: {column.name}: {line}" for line in column.complaints]
    return told, faults


# --- docs/mio.md ------------------------------------------------------------------------------------------------------

class Results:
    """What the columns say of a row, as the document has it: what only this machine lacks counts as passed there."""

    def __init__(self, found):
        self.native = [column for column in found if is_native(column)]
        self.hosts = [column for column in found if not is_native(column)]
        self.machine = Counter(text for column in found for outcome, text in column.results.values()
                               if outcome == "skip" and text.startswith(MACHINE))
        words = " ".join(PLATFORMS.read_text().split())
        used = {text for column in found for outcome, text in column.results.values()
                if outcome == "skip" and not text.startswith((LACKS, MACHINE))}
        self.notes = sorted(used, key=lambda reason: words.find(f"| {reason} |"))

    def of(self, row, column):
        outcome, text = column.results[row.file, row.name]
        if outcome == "skip" and text.startswith(MACHINE):
            return "ok", ""
        return outcome, text

    def one(self, row, column):
        outcome, text = self.of(row, column)
        if outcome == "skip" and text.startswith(LACKS):
            return "no " + text[len(LACKS):]
        if outcome == "skip":
            return f"skip&nbsp;{self.notes.index(text) + 1}"
        return "ok" if outcome == "ok" else "**failed**"

    def cell(self, row, columns):
        """What the versions of a host and the backends there have in common, or what each says."""
        if not row.meant:
            return "–"
        said = {}
        for column in columns:
            backend, _, host = column.name.partition("@")
            said.setdefault(version(host), {})[backend] = self.one(row, column)
        if len({text for texts in said.values() for text in texts.values()}) == 1:
            return self.one(row, columns[0])
        parts = []
        for number, texts in said.items():
            if len(set(texts.values())) == 1:
                texts = {"": next(iter(texts.values()))}
            parts += [" ".join(filter(None, [number, backend and f"`{backend}`"])) + f": {text}"
                      for backend, text in texts.items()]
        return "<br>".join(parts)

    def groups(self):
        """The columns of the document: (heading, columns)."""
        groups = [(f"`{column.name}`", [column]) for column in self.native]
        by_host = {}
        for column in self.hosts:
            by_host.setdefault(re.sub(r"-\d+$", "", host_of(column)), []).append(column)
        return groups + [(f"WASI 0.2<br>{host}", columns) for host, columns in by_host.items()]


def version(host):
    """48 of wasmtime-48; of jco nothing."""
    return (re.findall(r"-(\d+)$", host) or [""])[0]


def promise_link(number, headings):
    anchor = re.sub(r"[^\w\- ]", "", headings[number].lower()).replace(" ", "-")
    return f"[{number}](promises.md#{anchor})"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def head(mio, rows, results, headings):
    meant = [row for row in rows.values() if row.meant]
    kinds = Counter(row.kind for row in rows.values())
    wasi = [row for row in meant if row.kind != "native"]
    status = Counter(row.mio for row in rows.values())
    wasi_status = Counter(row.mio for row in wasi)
    types = sum(row.kind == "rust" and row.mio == "runs" for row in rows.values())
    lacking = Counter(results.of(row, results.hosts[0])[1] for row in meant if row.kind == "native")
    lacks = ", ".join(f"{reason[len(LACKS):]} {n}" for reason, n in lacking.most_common())
    link = f"[{mio['repository']}](https://github.com/{mio['repository']}/tree/{mio['commit']}/tests)"

    yield "# mio's tests"
    yield ""
    yield (f"mio, the Rust crate, has {mio['tests']} tests ({link} at commit {mio['commit']}, after release "
           f"{mio['release']}). What each of them checks, as far as C can mean it, is a test of poise's, written anew: "
           "one test of mio's, one function of the same name. `set_get_ttl` of mio's `tests/tcp_stream.rs` is "
           "`TEST(tcp_stream, set_get_ttl)` in `tests/mio/tcp_stream.c`.")
    yield ""
    yield ("This page is written by `tests/mio.py` from a run on all backends and hosts, counts and all; `make check` "
           "runs them anew and compares; `make soak` runs them many times in a row. What a row says is in [tests/mio/rows.toml](../tests/mio/rows.toml).")
    yield ""
    yield from table(["mio's tests", str(len(rows))], [
        ["C can mean it: a function of ours", f"**{len(meant)}**"],
        ["– of these poise promises something else, and that is tested", str(kinds["differs"])],
        [f"– of these WASI has not got what it takes: {lacks}", str(kinds["native"])],
        ["C can't mean it: Rust's types", str(kinds["rust"])],
        ["C can't mean it: another operating system", str(kinds["os"])]])
    count = []
    for column in results.native + sorted(results.hosts, key=lambda column: column.name.startswith("poll")):
        possible = meant if is_native(column) else wasi
        outcomes = Counter(results.of(row, column)[0] for row in possible)
        name, _, host = column.name.partition("@")
        count.append([f"`{name}`" + (f", {host.replace('-', ' ')}" if host else ""),
                      f"**{outcomes['ok']}** of {len(possible)}", str(outcomes["skip"]), str(outcomes["not ok"])])
    yield from table(["of those that can be there", "pass", "skipped: a fault of the host", "fail"], count)
    yield (f"Under WASI 0.2 mio itself runs {status['runs']} of its {mio['tests']} tests, ignores {status['ignored']}, "
           f"and does not compile {status['not compiled']}: so its sources say, and so says the last column below. Of "
           f"the {len(wasi)} that poise can run there mio runs {wasi_status['runs']}, ignores {wasi_status['ignored']}"
           f", and does not compile {wasi_status['not compiled']}; {types} more that it runs are about Rust's types.")
    yield ""
    numbers = " and ".join(dict.fromkeys(filter(None, (version(column.name) for column in results.hosts))))
    yield "Three things are not the same everywhere:"
    yield ""
    yield (f"* On `poll` each `EAGAIN` is told by `poise_again` ({promise_link('G3', headings)}). An edge that was "
           "reported is silent until then, also about a hang-up: in five tests it is told before one, though nothing has "
           "said `EAGAIN` (their rows say so).")
    yield ("* Under WASI a host may report a socket as readable without a reason: an event behind which nothing can be "
           "received is let pass there.")
    yield ("* The closed hints `POISE_READ_CLOSED` and `POISE_WRITE_CLOSED` tell of a peer's end natively as soon as "
           "it is there. On `wasip2` they are known after the read that found the end; on `poll` in a component never. "
           "Where they are not known ([platforms](platforms.md#backends)), none is asked for.")
    yield ""
    yield (f"In the tables a host means both backends of a component, `wasip2` and `poll`, and wasmtime its versions "
           f'{numbers}; where they differ, the cell says so. Besides "ok" there are')
    yield ""
    yield '* "no threads" and the like: WASI has none, and the test is skipped there;'
    if results.notes:
        yield "* skip: the host is at fault ([platforms](platforms.md#what-is-skipped) has a program that shows it):"
    for i, reason in enumerate(results.notes, 1):
        yield f"  {i}. {reason}" + (";" if i == len(results.notes) else ",")
    yield "* –: none of ours, for the reason in the row."
    yield ""


def file_part(file, rows, results, headings):
    meant = sum(row.meant for row in rows)
    yield f"## {file}"
    yield ""
    if not meant:
        yield from table(["test", "what it checks", "why poise has none"],
                         [[f"`{row.name}`", row.checks, row.reason] for row in rows])
        return
    yield f"{len(rows)} of mio's, {meant} of ours: [tests/mio/{file}.c](../tests/mio/{file}.c)"
    yield ""
    groups = results.groups()
    lines = []
    for row in rows:
        what = row.checks
        if row.kind == "differs":
            number, _, says = row.promise.partition(": ")
            what += f"<br>**Differs by design**, {promise_link(number, headings)}: {says}."
        what += f"<br>*{row.remark}*" if row.remark else ""
        what += f"<br>**None of ours:** {row.reason}" if row.reason else ""
        lines.append([f"`{row.name}`", what] + [results.cell(row, columns) for _, columns in groups] + [row.mio])
    yield from table(["test", "what it checks"] + [heading for heading, _ in groups] + ["mio, WASI"], lines)


def wrapped(line):
    """The lines of a paragraph or an item; code stays on one."""
    if not line or line.startswith("|"):
        return [line]
    line = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), line)
    indent = re.match(r" *([*]|\d+\.)? *", line)[0]
    lines = textwrap.wrap(line, 120, break_long_words=False, break_on_hyphens=False,
                          subsequent_indent=" " * len(indent))
    return [line.replace("\0", " ") for line in lines]


def document(mio, rows, results):
    headings = dict(re.findall(r"^## ((G\d+)\. .*)$", PROMISES.read_text(), re.M))
    headings = {number: heading for heading, number in headings.items()}
    lines = [line for part in head(mio, rows, results, headings) for line in wrapped(part)]
    for file in dict.fromkeys(row.file for row in rows.values()):
        lines += file_part(file, [row for row in rows.values() if row.file == file], results, headings)
    return "\n".join(lines).rstrip("\n") + "\n"


def compare(text):
    there = DOCUMENT.read_text() if DOCUMENT.is_file() else ""
    if there == text:
        return []
    lines = [line for line in difflib.unified_diff(there.splitlines(), text.splitlines(), n=0, lineterm="")
             if not line.startswith(("---", "+++", "@@"))]
    more = [f"... and {len(lines) - 20} lines more"] if len(lines) > 20 else []
    return [f"{DOCUMENT.relative_to(TOP)} is not what this run says (-: it, +: the run); {MEND} mends it"
            + "".join(f"\n    | {line}" for line in lines[:20] + more)]


# --- the soak ---------------------------------------------------------------------------------------------------------

class Soak:
    """Rounds of all columns, those of the first round first, so that the time that is left can be told soon."""

    def __init__(self, found, rounds, folder):
        self.found, self.folder = found, folder
        self.rounds = {column.name: max(1, rounds // 5) if "jco" in column.name else rounds for column in found}
        self.waiting = [(number, column) for number in range(1, rounds + 1) for column in found
                        if number <= self.rounds[column.name]]
        self.seconds = {column.name: [] for column in found}
        self.counts, self.first = Counter(), {}
        self.failures = {}  # what failed: the rounds
        self.lock = threading.Lock()
        self.said = 0.0

    def left(self):
        """Seconds for one worker, or None if some column has not come to its first end yet."""
        if not all(self.seconds.values()):
            return None
        return sum((self.rounds[name] - len(took)) * sum(took) / len(took) for name, took in self.seconds.items())

    def progress(self, jobs, last=False):
        terminal = sys.stdout.isatty()
        if not (terminal or last) and time.monotonic() - self.said < 30:
            return
        self.said = time.monotonic()
        done = ", ".join(f"{name} {len(took)}/{self.rounds[name]}" for name, took in self.seconds.items())
        left = self.left()
        line = f"{done}; {sum(map(len, self.failures.values()))} failed"
        line += f"; {left / jobs / 60:.0f} min left" if left else ""
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal and not last else "\n", flush=True)

    def take(self, number, fresh):
        """Notes what came of a round. A test that passes in one and is skipped in another is a failure, too."""
        lost = [f"{fresh.name}: " + "\n    | ".join(fresh.complaints)] if fresh.complaints else []
        for test, (outcome, text) in fresh.results.items():
            self.counts[outcome] += 1
            first = self.first.setdefault((fresh.name, test), (outcome, text))
            if outcome == "not ok":
                lost.append(f"{'.'.join(test)} on {fresh.name}: {text}")
            elif (outcome, text) != first and first[0] != "not ok":
                lost.append(f"{'.'.join(test)} on {fresh.name}: {outcome} {text}, but in round 1 {' '.join(first)}")
        for line in lost:
            self.failures.setdefault(line, []).append(number)
            print(("\r\033[K" if sys.stdout.isatty() else "") + f"round {number}: not ok {line}", flush=True)

    def work(self, tests, jobs):
        while True:
            with self.lock:
                if not self.waiting:
                    return
                number, column = self.waiting.pop(0)
            fresh = run.Column(column.name, column.command, column.options, column.silence)
            try:
                run.run_column(fresh, [], None, self.folder, tests[column.name])
            except Exception as error:
                fresh.complaints.append(repr(error))
            with self.lock:
                self.seconds[column.name].append(fresh.seconds)
                self.take(number, fresh)
                self.progress(jobs)

    def run(self, jobs):
        tests = {column.name: run.list_tests(column, [], self.folder) for column in self.found}
        for column in self.found:
            self.failures |= {f"{column.name}: {line}": [0] for line in column.complaints}
        workers = [threading.Thread(target=self.work, args=(tests, jobs)) for _ in range(max(1, jobs))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.progress(jobs, last=True)
        for name, took in self.seconds.items():
            print(f"{name}: {len(took)} rounds of {len(tests[name])} tests, {sum(took) / max(1, len(took)):.1f} s each")
        if self.failures:
            print("\nfailed:\n")
        for line, numbers in self.failures.items():
            which = ", ".join(map(str, numbers[:10])) + ", ..." * (len(numbers) > 10)
            print(f"not ok in {len(numbers)} rounds ({which}): {line}")
        failed = sum(map(len, self.failures.values()))
        print(f"\n{self.counts['ok']} passed, {failed} failed, {self.counts['skip']} skipped", flush=True)
        return 1 if failed else 0


# --- what is asked for ------------------------------------------------------------------------------------------------

def settle(options, found, folder):
    """Runs the tests, checks rows, functions, results and the document. Returns the exit status."""
    mio, rows, faults = read_rows()
    run.run_columns(found, options, [], None, folder)
    run.print_table(found, "file")
    unknown = run.print_skips(found)
    run.print_failures(found)
    listed = set().union(*(column.results for column in found))
    faults += check_functions(rows, listed)
    complete = all((row.file, row.name) in column.results for row in rows.values() if row.meant for column in found)
    faults += check_results({key: row for key, row in rows.items() if key in listed}, found)
    told, lax = wrong(found, folder)
    faults += lax
    print(f"\n{told} tests fail at a point with --wrong, as they should")
    if options.check or options.update:
        faults += keep_document(options, mio, rows, found, complete and not any(c.complaints for c in found))
    if faults:
        print("\n" + "\n".join(f"not ok {fault}" for fault in faults))
    failed = unknown + len(faults) + sum(column.count("not ok") + bool(column.complaints) for column in found)
    passed, skipped = (sum(column.count(outcome) for column in found) for outcome in ("ok", "skip"))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def keep_document(options, mio, rows, found, complete):
    if not complete:
        return [f"{DOCUMENT.relative_to(TOP)} is neither written nor compared, as results are missing"]
    results = Results(found)
    text = document(mio, rows, results)
    for reason, n in results.machine.items():
        print(f'\n{n} skipped because "{reason}": {DOCUMENT.relative_to(TOP)} is compared as if they had passed')
    if options.check:
        return compare(text)
    if results.machine:
        return [f"{DOCUMENT.relative_to(TOP)} is not written: {' and '.join(results.machine)}"]
    DOCUMENT.write_text(text)
    return []


def main():
    parser = run.parser_of(__doc__)
    parser.set_defaults(wasip1=None)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="docs/mio.md has to say what the run does")
    what.add_argument("--update", action="store_true", help="writes docs/mio.md")
    what.add_argument("--soak", metavar="N", type=int, nargs="?", const=50, help="so many rounds (%(const)s)")
    options = parser.parse_args()
    every = options.native and options.wasip2 and not options.columns and options.hosts == parser.get_default("hosts")
    if not every and (options.check or options.update):
        parser.error("docs/mio.md wants every column: --native and --wasip2, and no --columns or --hosts")
    if options.soak is not None and options.soak < 1:
        parser.error("--soak takes at least one round")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "poise-test.file").write_text("some")
        found = run.columns(options, folder, "mio")
        if not found:
            parser.error("nothing to run: name at least one build folder")
        if options.soak is not None:
            return Soak(found, options.soak, folder).run(options.jobs)
        return settle(options, found, folder)


if __name__ == "__main__":
    sys.exit(main())
