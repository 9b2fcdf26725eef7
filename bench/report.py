"""Results as text for the terminal, and as markdown for docs/performance.md."""

from __future__ import annotations

import re
from pathlib import Path

from harness import DIVISORS, Peer, Row, Table, divisor
from results import Interval, Results, short


def shown(table: Table, figure: str, value: Interval | None) -> str:
    return "-" if value is None else short(value.median / divisor(table.unit, figure))


def unit_name(table: Table, figure: str) -> str:
    """With the space before it; nothing for a count."""
    unit = table.unit.replace("us", "µs") if table.unit in DIVISORS else table.unit
    return f" {unit}" if figure == table.figure or divisor("s", figure) > 1 else ""


FIGURES = {"ns/ops": "Time for each operation", "cpu_ns/ops": "Processor time for each operation"}


def row_text(row: Row) -> str:
    return " ".join(f"{key}={value}" for key, value in row.items())


def named(reason: str) -> str:
    """What stands in a cell instead of a figure."""
    return "crashed" if reason.startswith("failed") else "-"


def ratio_text(found: Interval | None) -> str:
    return "" if found is None else f"{found.median:.3f} ({found.lower:.3f} to {found.upper:.3f})"


# --- The terminal -----------------------------------------------------------------------------------------------------


def peer_line(results: Results, host: str, row: Row, peer: Peer, width: int) -> str:
    table = results.table
    problem = results.problem(host, row, peer.label)
    median = results.median(host, row, peer.label, table.figure)
    if median is None:
        return f"  {peer.label:<{width}}  {problem or 'nothing'}"
    subject = results.subject(peer)
    ratio = results.ratio(host, row, subject, peer.label, table.figure) if subject else None
    cells = [f"{shown(table, table.figure, median):>9}{unit_name(table, table.figure)}", f"{ratio_text(ratio):<26}"]
    for key in table.show:
        value = results.per_op(host, row, peer.label, key)
        if value is not None:
            cells.append(f"{key} {short(value)}")
    for key in table.more:
        found = results.median(host, row, peer.label, key)
        if found is not None:
            cells.append(f"{key} {shown(table, key, found)}{unit_name(table, key)}")
    if problem:
        cells.append(f"({problem})")
    return f"  {peer.label:<{width}}  " + "  ".join(cells).rstrip()


def heading(results: Results, host: str) -> str:
    table = results.table
    subject = table.peers[0].label
    return (
        f"{table.name}{' on ' + host if host else ''}: {table.title}\n"
        f"  {table.figure}, median; {subject} / peer, median (95 % interval); for each op: {', '.join(table.show)}"
    )


def row_lines(results: Results, host: str, row: Row) -> str:
    width = max(len(peer.label) for peer in results.table.peers)
    turns = max(
        (len(results.values(host, row, peer.label, results.table.figure)) for peer in results.table.peers), default=0
    )
    lines = [f"{row_text(row)}  ({turns} rounds of each)"]
    lines += [peer_line(results, host, row, peer, width) for peer in results.table.peers if peer.rows(row)]
    return "\n".join(lines)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def cell(results: Results, host: str, row: Row, peer: Peer) -> str:
    if not peer.rows(row):
        return ""
    median = results.median(host, row, peer.label, results.table.figure)
    if median is None:
        return named(results.problem(host, row, peer.label) or "")
    text = shown(results.table, results.table.figure, median)
    subject = results.subject(peer)
    ratio = results.ratio(host, row, subject, peer.label, results.table.figure) if subject else None
    if ratio is not None:
        text += f"; {ratio.median:.3f} ({ratio.lower:.3f}–{ratio.upper:.3f})"
    return text


def markdown_table(results: Results, host: str) -> list[str]:
    table = results.table
    keys = list(table.rows[0])
    peers = [peer for peer in table.peers if any(results.of(host, row, peer.label) for row in results.rows(host))]
    extra = [
        key
        for key in table.more
        if any(results.median(host, row, peer.label, key) for row in results.rows(host) for peer in peers)
    ]
    heads = [f"{key},{unit_name(table, key)}" if unit_name(table, key) else key for key in extra]
    lines = [
        "| " + " | ".join([*keys, *(peer.label for peer in peers), *heads]) + " |",
        "|" + "---:|" * len(keys) + "---|" * (len(peers) + len(extra)),
    ]
    for row in results.rows(host):
        cells = [f"{row[key]:,}" if isinstance(row[key], int) else str(row[key]) for key in keys]
        cells += [cell(results, host, row, peer) for peer in peers]
        for key in extra:  # of all peers, one after the other
            values = [results.median(host, row, peer.label, key) for peer in peers]
            cells.append(", ".join(shown(table, key, value) for value in values))
        lines.append("| " + " | ".join(cells) + " |")
    if extra and host == results.hosts()[-1]:
        lines += [
            "",
            f"In the last column{'s' * (len(extra) > 1)} the peers stand in the order of theirs: "
            + ", ".join(peer.label for peer in peers)
            + ".",
        ]
    return lines


def counts_line(results: Results) -> str:
    """What each peer did for an event, over all rows: a range where the rows differ."""
    table = results.table
    said = []
    for peer in table.peers:
        counts = []
        for key in table.show:
            values = [
                value
                for host in results.hosts()
                for row in results.rows(host)
                if (value := results.per_op(host, row, peer.label, key)) is not None
            ]
            if values:
                low, high = short(round(min(values), 3)), short(round(max(values), 3))
                counts.append(f"{key} {low if low == high else f'{low} to {high}'}")
        if counts:
            said.append(f"{peer.label}: {', '.join(counts)}")
    return "Counted for each operation: " + "; ".join(said) + "." if said else ""


def machine_line(results: Results) -> str:
    header = dict(results.header)
    command = header.pop("command", "bench/run.py")
    header.pop("table", None)
    rest = "; ".join(
        value if key in ("machine", "date", "kernel") else f"{key} {value}" for key, value in header.items()
    )
    return f"`{command}`: {rest}."


def judgement_lines(results: Results) -> list[str]:
    judged = results.judged()
    if not judged:
        return []
    missed = [one for one in judged if not one.met]
    lines = [f"Bars: {len(judged) - len(missed)} of {len(judged)} met."]
    if missed:
        lines += ["", "| missed | what | median (95 % interval) | bar |", "|---|---|---|---|"]
        for one in missed:
            where = one.place.partition(" ")[2]
            lines.append(f"| {where} | {one.what} | {one.found_text()} | {one.limit_text()} |")
    return lines


def rounds_of(results: Results) -> int:
    """How often each peer has run in each row."""
    return len({(one.start, one.turn) for one in results.rounds if one.status == "ok"})


def section(results: Results, pictures: list[Path]) -> str:
    table = results.table
    subject = table.peers[0].label
    unit = unit_name(table, table.figure)
    figure = FIGURES.get(table.figure, f"`{table.figure}`") + (f" in{unit}" if unit else "")
    lines = [f"![{table.title}](performance/{path.name})" for path in pictures] + [""] * bool(pictures)
    lines += [
        f"{figure}, median of {rounds_of(results)} rounds; then {subject} / that peer: the median of the ratios of all "
        "pairs of rounds, and its 95 % interval."
    ]
    if table.note:
        lines[-1] += " " + table.note
    lines.append("")
    for host in results.hosts():
        if host:
            lines += [f"On {host}:", ""]
        lines += [*markdown_table(results, host), ""]
    for more in ([counts_line(results)], judgement_lines(results), [machine_line(results)]):
        if more and more[0]:
            lines += [*more, ""]
    return "\n".join(lines).rstrip() + "\n"


def bars(results: list[Results], document: Path) -> str:
    """A line for each table: how many bars there are, and which rows miss one. Those of other tables stay as they are."""
    lines = {line.split(" | ")[0]: line for line in section_of(document, "bars").splitlines()[2:]}
    for one in results:
        judged = one.judged()
        missed = dict.fromkeys(judgement.place.partition(" ")[2] for judgement in judged if not judgement.met)
        if judged and one.table.publish:
            met = sum(judgement.met for judgement in judged)
            first = f"| {one.table.title}"
            lines[first] = f"{first} | {met} of {len(judged)} | {'; '.join(missed) or '-'} |"
    return "\n".join(["| table | bars met | missed |", "|---|---:|---|", *lines.values()]) + "\n"


CHAPTERS = {"linux": "On Linux", "wasi": "Under WASI 0.2", "bars": "What is reached", "size": "Size"}


def marked_as(name: str) -> re.Pattern[str]:
    return re.compile(rf"<!-- bench: {re.escape(name)} -->\n(.*?)<!-- end -->", re.S)


def section_of(document: Path, name: str) -> str:
    """What stands between its marks; nothing if it is not there."""
    found = marked_as(name).search(document.read_text() if document.is_file() else "")
    return found[1] if found else ""


def put(document: Path, chapter: str, name: str, title: str, text: str) -> None:
    """Between <!-- bench: NAME --> and <!-- end -->; a section that is not there is added at the end of its chapter."""
    content = document.read_text() if document.is_file() else "# Performance\n"
    marked = f"<!-- bench: {name} -->\n{text}<!-- end -->"
    if marked_as(name).search(content):
        content = marked_as(name).sub(lambda _: marked, content)
    else:
        heading = f"\n## {CHAPTERS[chapter]}\n"
        if heading not in content:
            content = content.rstrip() + f"\n{heading}"
        begin = content.index(heading) + len(heading)
        end = content.find("\n## ", begin)
        before, behind = (content[:end], content[end:]) if end >= 0 else (content, "")
        content = before.rstrip() + f"\n\n### {title}\n\n{marked}\n" + behind
    document.write_text(content)
