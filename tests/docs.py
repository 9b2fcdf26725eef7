#!/usr/bin/env python3
"""The documents against the rest of the checkout.

    tests/docs.py             checks
    tests/docs.py --update    writes the lists of tests in docs/promises.md anew, then checks

* README.md quotes examples/hello.c word for word.
* docs/promises.md has each promise, and lists the tests of each.
* docs/platforms.md has each reason for a skip, word for word, and no other; and the reproducers that exist, and no other.
* Links within the checkout lead somewhere. There is no path of somebody's machine.
* The version is the same in poise.h, poise_version() and the newest entry of CHANGELOG.md.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
failures = []
passed = 0


def check(condition, text):
    global passed
    if condition:
        passed += 1
    else:
        failures.append(text)
        print(f"not ok {text}")


def read(path):
    return (ROOT / path).read_text()


def test_sources():
    return sorted([*ROOT.glob("tests/*.[ch]"), *ROOT.glob("tests/mio/*.[ch]")])


def tests():
    found = {}
    for path in test_sources():
        for group, name in re.findall(r"^TEST\((\w+),\s*(\w+)\)", path.read_text(), re.M):
            if name not in found.setdefault(group, []):
                found[group].append(name)
    return found


def tests_line(group, found):
    return "Tests: " + ", ".join(f"`{name}`" for name in found.get(group, [])) + "."


def promises(update):
    found = tests()
    parts = re.split(r"^(?=## )", read("docs/promises.md"), flags=re.M)
    for i, part in enumerate(parts):
        heading = re.match(r"## (G\d+)\. ", part)
        if heading:
            parts[i] = re.sub(r"^Tests:.*$", lambda _: tests_line(heading[1], found), part, flags=re.M)
    if update:
        (ROOT / "docs/promises.md").write_text("".join(parts))
    text = read("docs/promises.md")
    for number in range(1, 21):
        group = f"G{number}"
        check(re.search(rf"^## {group}\. ", text, re.M), f"docs/promises.md has {group}")
        check(group in found, f"there are tests of {group}")
        check(tests_line(group, found) in text, f"docs/promises.md lists the tests of {group} (mend with: tests/docs.py --update)")


def platforms():
    text = read("docs/platforms.md")
    reasons = set()
    for path in [*test_sources(), *sorted(ROOT.glob("tests/services/**/*.[ch]"))]:
        reasons |= set(re.findall(r'SKIP\("([^"]+)"\)', path.read_text()))
        reasons |= set(re.findall(r'\.why = "([^"]+)"', path.read_text()))  # tests/wasi_states.c
    for reason in sorted(reasons):
        check(f"| {reason} |" in text, f"docs/platforms.md has the reason: {reason}")
    table = text[text.find("\n## What is skipped"):]
    for reason in re.findall(r"^\| (?!-)(.*?) \|", table, re.M)[1:]:
        check(reason in reasons, f"docs/platforms.md: no test is skipped with: {reason}")
    there = {path.name for path in ROOT.glob("tests/reproducers/*.c")}
    named = set(re.findall(r"tests/reproducers/(\w+\.c)", text))
    check(there == named, f"reproducers: {sorted(there - named)} not in docs/platforms.md, {sorted(named - there)} not there")


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document):
    text = re.sub(r"^```.*?^```", "", read(document), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        check(file.exists(), f"{document}: {target} leads nowhere")
        if anchor and file.exists():
            check(anchor in anchors(file.relative_to(ROOT)), f"{document}: {target}: there is no such heading")


def main(arguments):
    if arguments not in ([], ["--update"]):
        sys.exit(__doc__)
    check(f"```c program=hello wasi\n{read('examples/hello.c')}```" in read("README.md"), "README.md quotes examples/hello.c")
    promises(bool(arguments))
    platforms()
    documents = [str(path.relative_to(ROOT)) for pattern in ("*.md", "docs/*.md") for path in sorted(ROOT.glob(pattern))]
    for document in documents:
        links(document)
    for path in documents + [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("man/*.[37]"))]:
        strange = re.findall(r"(?<![\w.])/(?:work|root|tmp|home)\b\S*", read(path))
        check(not strange, f"{path}: a machine's path: {strange}")
    number = int(re.search(r"POISE_VERSION_NUMBER (0x[0-9a-fA-F]+)", read("include/poise/poise.h"))[1], 16)
    version = f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
    for example, most in (("hello", 30), ("echo", 60), ("udp_timeout", 60), ("connect", 60), ("get", 60)):  # they fit on a screen
        lines = len(read(f"examples/{example}.c").splitlines())
        check(lines <= most, f"examples/{example}.c has {lines} lines, at most {most}")
    check(f'return "{version}"' in read("src/queue.c"), f"poise_version() is {version}")
    newest = re.search(r"^## (\S+)", read("CHANGELOG.md"), re.M)
    check(newest and newest[1] == version, f"the newest entry of CHANGELOG.md is {version}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
