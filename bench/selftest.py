#!/usr/bin/env python3
"""Tests of the benchmark driver, with a peer that behaves as it is told: bench/selftest.py [NAME...]"""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from harness import Bar, Peer, Table, grid
from peers import Folders
from report import bars, put, section
from results import Results, Round, interval
from run import Runner, order

# PEER is what it does: a number, the ns of an operation; or one of the words below.
FAKE = """#!/bin/sh
case $1 in
  unsupported) echo unsupported no such thing; exit ;;
  silent) sleep 100 ;;
  strange) echo hello; exit ;;
  dies) echo nobody knows why >&2; exit 3 ;;
esac
echo ready n=1
while read -r word count; do
  [ "$word" = round ] || exit 4
  case $1 in
    hangs) sleep 100 ;;
    lazy) count=1 ;;
    ill) [ -z "$ill" ] || exit 5; ill=1 ;;
  esac
  reads=$count
  [ "$1" != diligent ] || reads=$((2 * count))
  case $1 in [0-9]*) each=$1 ;; *) each=100 ;; esac
  echo "ns=$((each * count)) ops=$count waits=$count reads=$reads writes=$count served=7"
done
[ "$1" != ungrateful ] || exit 6
"""


def peers(*words: str, **more) -> tuple[Peer, ...]:
    return tuple(Peer(word, "fake", word, **more) for word in words)


def table(members: tuple[Peer, ...], **more) -> Table:
    settings = dict(name="fake", title="Fakes", platform="linux", workload="none", rows=grid(n=(1, 2)), count=100)
    settings.update(short_rows=grid(n=(1,)), short_count=10, round_seconds=0.5, setup_seconds=0.5)
    found = Table(peers=members, **{**settings, **more})
    found.check()
    return found


class Driver(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        program = self.folder / "bench" / "fake"
        program.parent.mkdir()
        program.write_text(FAKE)
        program.chmod(0o755)

    def run_table(self, one: Table, starts: int = 2, turns: int = 3) -> Results:
        results = Results(one, {"command": "none", "machine": "none"})
        folders = Folders(str(self.folder), str(self.folder), str(self.folder))
        for row in one.rows:
            Runner(one, "", row, folders, False, results, lambda what, fraction: None).run(starts, turns)
        return results

    def test_all_take_their_turns(self) -> None:
        results = self.run_table(table(peers("200", "100")))
        self.assertEqual(results.failures(), [])
        self.assertEqual(len(results.rounds), 2 * 2 * 2 * 3)
        ratio = results.ratio("", {"n": 1}, "200", "100", "ns/ops")
        self.assertEqual((ratio.median, ratio.lower, ratio.upper, ratio.n), (2, 2, 2, 6))

    def test_failures_are_told_and_the_others_go_on(self) -> None:
        bad = ("silent", "strange", "dies", "hangs", "lazy", "ill", "ungrateful")
        results = self.run_table(table(peers("100", *bad), rows=grid(n=(1,))))
        failures = "\n".join(results.failures())
        for word, reason in zip(bad, ("said nothing", "'hello' instead of ready", "status 3: nobody knows why",
                                      "said nothing", "did 1 of 100", "status 5", "status 6")):  # fmt: skip
            self.assertRegex(failures, f"fake n=1: {word}: .*{reason}")
        self.assertEqual(len(results.values("", {"n": 1}, "100", "ns/ops")), 6)
        self.assertEqual(len(results.failures()), len(bad))

    def test_a_program_that_is_not_there_fails(self) -> None:
        results = self.run_table(table((Peer("gone", "gone", "x"),), rows=grid(n=(1,))))
        self.assertRegex(results.failures()[0], "build it first")

    def test_unsupported_is_no_failure(self) -> None:
        results = self.run_table(table(peers("100", "unsupported")))
        self.assertEqual(results.failures(), [])
        self.assertEqual(results.problem("", {"n": 1}, "unsupported"), "unsupported: no such thing")

    def test_other_work_is_a_failure_unless_it_may_be(self) -> None:
        results = self.run_table(table(peers("100", "diligent"), rows=grid(n=(1,))))
        self.assertRegex(results.failures()[0], "reads for each op: 100 1, diligent 2")
        excused = table((*peers("100"), *peers("diligent", differs={"reads": "it likes to"})), rows=grid(n=(1,)))
        self.assertEqual(self.run_table(excused).failures(), [])

    def test_bars(self) -> None:
        bars = (Bar(1.9, "100"), Bar(2.0, "100"), Bar(199, None), Bar(1.0, {"n": 1}))
        bars += (Bar(8, None, figure="served", at_least=True, end="upper"),)
        results = self.run_table(table(peers("200", "100"), bars=bars))
        met = [(str(judged.place), judged.met) for judged in results.judged()]
        expected = [
            False,
            False,
            True,
            True,
            False,
            False,
            True,
            False,
            False,
        ]  # two rows of each, but one of the fourth
        self.assertEqual([good for _, good in met], expected)
        self.assertEqual(self.run_table(table(peers("200", "100"), bars=bars), turns=1).judged(), [])  # too few rounds

    def test_csv_is_read_as_it_was_written(self) -> None:
        results = self.run_table(table(peers("200", "unsupported")))
        results.write(self.folder / "fake.csv")
        again = Results.read(results.table, self.folder / "fake.csv")
        self.assertEqual((again.rounds, again.header), (results.rounds, results.header))

    def test_sections_are_put_in_their_place(self) -> None:
        document = self.folder / "document.md"
        document.write_text("# All\n\n## On Linux\n\nProse.\n\n## Behind\n\nMore.\n")
        text = section(self.run_table(table(peers("200", "100"))), [])
        put(document, "linux", "fake", "Fakes", text)
        put(document, "linux", "fake", "Fakes", "Second\n")
        self.assertEqual(
            document.read_text(),
            "# All\n\n## On Linux\n\nProse.\n\n### Fakes\n\n<!-- bench: fake -->\nSecond\n<!-- end -->\n\n## Behind\n\nMore.\n",
        )
        self.assertIn("| 1 | 200 | 100; 2.000 (2.000–2.000) |", text)

    def test_bars_of_other_tables_stay(self) -> None:
        document = self.folder / "document.md"
        for name, turns in (("One", 3), ("Two", 3), ("One", 4)):
            results = self.run_table(table(peers("200", "100"), title=name, bars=(Bar(turns - 2, "100"),)), turns=turns)
            put(document, "bars", "bars", "Bars", bars([results], document))
        lines = document.read_text().splitlines()
        self.assertIn("| One | 2 of 2 | - |", lines)
        self.assertIn("| Two | 0 of 2 | n=1; n=2 |", lines)
        self.assertEqual(sum(line.startswith("| ") for line in lines), 3)


class Figures(unittest.TestCase):
    def test_interval(self) -> None:
        # From tables of the binomial distribution: of 30 the 10th and the 21st, of 9 the 2nd and the 8th, of 6 the ends.
        for n, low in ((30, 10), (9, 2), (6, 1), (3, 1), (1, 1)):
            found = interval([float(value) for value in range(n, 0, -1)])
            self.assertEqual((found.lower, found.upper), (low, n + 1 - low))

    def test_everybody_has_each_place(self) -> None:
        for n in (2, 3, 5):
            places = [order(n, turn) for turn in range(2 * n)]
            for place in range(n):
                self.assertEqual({one[place] for one in places}, set(range(n)))

    def test_ratio_is_of_the_same_turn(self) -> None:
        one = table(peers("a", "b"))
        results = Results(one, {})
        for turn, (a, b) in enumerate(((10, 5), (100, 50), (7, 7))):
            for label, ns in (("a", a), ("b", b)):
                results.rounds.append(Round("", {"n": 1}, label, 0, turn, 0, "ok", {"ns": ns, "ops": 1}))
        results.rounds.append(Round("", {"n": 1}, "a", 0, 9, 0, "ok", {"ns": 1, "ops": 1}))  # b has died
        self.assertEqual(results.ratio("", {"n": 1}, "a", "b", "ns/ops").median, 2)


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent)
    unittest.main()
