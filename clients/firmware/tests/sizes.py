#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Code, memory and stack of the client on Cortex-M: tests/sizes.py COMPILER FOLDER README

Fails if something is larger than README allows, or is not what README says, if that names this compiler's version.

Code is what a firmware that does nothing else grows by: linked, with the parts of the C library that it needs, without
its own main loop, driver and network. Stack is the deepest chain of calls without what callbacks take.
"""

import collections
import pathlib
import re
import subprocess
import sys

COMPILER, FOLDER, README = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
TARGETS = {"Cortex-M0+": ["-mcpu=cortex-m0plus"], "Cortex-M4": ["-mcpu=cortex-m4"]}
FLAGS = ["-mthumb", "-Os", "-std=c99", "-ffunction-sections", "-fdata-sections", "-I.", "-Iexample", "-Wall", "-Wextra",
         "-Werror", "-Wconversion", "-pedantic"]
# All that the client may need beside what the compiler brings: nothing that allocates, prints or waits.
NEEDED = {"memcmp", "memcpy", "memset", "strlen"}
ENTRIES = ["quorate_init", "quorate_record", "quorate_step", "quorate_http_take"]


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def tool(name):
    return COMPILER.removesuffix("gcc") + name


def symbols(file):
    """Size and kind of each symbol with a size."""
    lines = (line.split() for line in run(tool("nm"), "-S", file).splitlines())
    return {line[3]: (int(line[1], 16), line[2]) for line in lines if len(line) == 4}


def deepest(graph):
    """Bytes of stack below each function, from GCC's call graph."""
    text = graph.read_text()
    frames = {name: int(size) for name, size in
              re.findall(r'title: "(?:[^":]*:)?(\w+)" label: "[^"]*\\n(\d+) bytes', text)}
    calls = collections.defaultdict(set)
    for caller, callee in re.findall(r'sourcename: "(?:[^":]*:)?(\w+)" targetname: "(?:[^":]*:)?(\w+)"', text):
        calls[caller].add(callee)

    def depth(name):
        return frames.get(name, 0) + max((depth(callee) for callee in calls[name] if callee != name), default=0)

    return {name: depth(name) for name in ENTRIES}


def check_needs(client):
    needed = {line.split()[-1] for line in run(tool("nm"), "-u", client).splitlines()}
    other = {name for name in needed - NEEDED if not name.startswith("__")}
    if other:
        sys.exit(f"quorate.c needs {', '.join(sorted(other))}")


def measure(cpu):
    folder = FOLDER / cpu[0].partition("=")[2]
    folder.mkdir(parents=True, exist_ok=True)
    client, firmware, linked = folder / "quorate.o", folder / "firmware.o", folder / "firmware.elf"
    run(COMPILER, *cpu, *FLAGS, "-fcallgraph-info=su", "-c", "quorate.c", "-o", client)
    check_needs(client)
    run(COMPILER, *cpu, *FLAGS, "-c", "tests/firmware.c", "-o", firmware)
    run(COMPILER, *cpu, "-mthumb", "-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-efirmware",
        "-Wl,--unresolved-symbols=ignore-all", client, firmware, "-o", linked)
    return linked, symbols(linked), deepest(folder / "quorate.ci")


def table():
    """What README says: name of the row to the numbers of its columns, `at most` last; and the compiler's version."""
    text = README.read_text()
    section = text.split("\n## Memory\n")[1].split("\n## ")[0]
    rows = [[cell.replace("`", "").strip() for cell in line.strip("|").split("|")]
            for line in section.splitlines() if line.startswith("|")]
    columns = rows[0][1:]
    if columns != [*TARGETS, "at most"]:
        sys.exit(f"{README}: columns are {columns}")
    said = {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in rows[2:]}
    return said, re.search(r"gcc-arm-none-eabi (\d+\.\d+\.\d+)", section).group(1)


def measured(cpu):
    """The rows of the table for one target."""
    linked, sizes, stack = measure(cpu)
    text = int(run(tool("size"), linked).splitlines()[1].split()[0])
    own = {"firmware", "post", "poll", "cancel", "common"}
    rest = sum(size for symbol, (size, _) in sizes.items() if symbol.split(".")[0] in own)
    http = sum(size for symbol, (size, _) in sizes.items() if "http" in symbol and symbol != "http")
    rows = {"code, with what it needs of the C library": text - rest, "of which HTTP": http}
    for struct, symbol in [("quorate", "client"), ("quorate_config", "config"), ("quorate_http", "http")]:
        rows[f"struct {struct}"] = sizes[symbol][0]
    return rows | {f"stack below {entry}": depth for entry, depth in stack.items()}


def main():
    columns = [measured(cpu) for cpu in TARGETS.values()]
    said, version = table()
    is_same = run(COMPILER, "-dumpfullversion").strip() == version
    wrong = []
    if set(said) != set(columns[0]):
        sys.exit(f"{README}: rows are {sorted(said)}, measured are {sorted(columns[0])}")
    for row in columns[0]:
        numbers, most = [column[row] for column in columns], said[row][-1]
        print(f"{row:<42} {' '.join(f'{number:>7,}' for number in numbers)}   at most {most:,}")
        if max(numbers) > most:
            wrong.append(f"{row}: {max(numbers)} bytes, at most {most}")
        if is_same and numbers != said[row][:-1]:
            wrong.append(f"{row}: {numbers}, and {README} says {said[row][:-1]}")
    if not is_same:
        print(f"{README} is of gcc {version}, so only its limits are compared")
    sys.exit("\n".join(wrong) if wrong else 0)


main()
