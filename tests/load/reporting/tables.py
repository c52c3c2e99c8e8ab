"""Builds the page's tables as Markdown. No figure in them is typed by hand."""

from .lines import LATE, SCENARIOS, Median, peers_of, ratios, turn_by_turn

ABSENT = "*not measured*"
CONNECTS_A_SECOND = 10_000
# A verdict on the fan-out needs this many turns.
TURNS = 15


def all_of(measured, peers, drawn):
    """Returns the text for each pair of markers, by name."""
    blocks = {
        "verdicts": verdicts(measured),
        "machine": machine(measured),
        "fanout": fanout(measured),
        "peers": others(peers),
        "latency": latency(measured),
        "fairness": fairness(measured),
        "idle": idle(measured),
        "idle_parts": idle_parts(measured),
        "connects": connects(measured),
        "growth": growth(measured),
        "fleet": fleet(measured),
        "scroll": scroll(measured),
        "calls": calls(measured),
        "instructions": instructions(measured),
    }
    for name, alt in PLOTS.items():
        if name in drawn:
            blocks[name] = f"![{alt}](performance/{name}.svg)\n\n{blocks[name]}"
    return blocks


PLOTS = {
    "fanout": "Ratios to the floor: the node in A, A16, B and C, and other servers",
    "latency": "Percentiles of delivery in C, and the last receiver in B: floor and node",
    "idle": "Memory of an idle socket: floors, node, other servers",
    "connects": "Connects a second and core: node and other servers",
    "growth": "What grows with sockets, workspaces, members and nodes",
    "fleet": "90,000 sockets: time to the last receiver of each message",
    "scroll": "A page's p50 by messages in the channel: the log and the naive schema",
}


def table(head, rows):
    """Returns a table, or a remark if there are no rows."""
    if not rows:
        return ABSENT
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value, digits=None):
    """Formats a number with commas and, unless given, as many digits as are significant."""
    if value is None:
        return ""
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def middle(median, digits=None):
    return "" if median is None else number(median.middle, digits)


def around(median, digits=None):
    """Formats a median with its interval."""
    return "" if median is None else f"{number(median.middle, digits)} {interval(median, digits)}"


def interval(median, digits=None):
    """Formats `[low, high]`, with the number of turns if they are few."""
    if median is None or median.count < 2:
        return "one turn"
    note = "" if median.count >= 6 else f" (all {median.count})"
    return f"[{number(median.low, digits)}, {number(median.high, digits)}]{note}"


# Verdicts


def verdicts(measured):
    rows = [of_fanout(measured, scenario) for scenario in SCENARIOS]
    rows += [
        of_idle(measured, "node, plain", 4_096, "bytes of an idle socket"),
        of_idle(measured, "node, TLS", 12_288, "bytes of an idle socket over TLS"),
        of_connects(measured),
        of_fleet(measured),
        of_scroll(measured),
        *of_send(measured),
    ]
    return table(["what", "aim", "measured", "interval", "turns", ""], rows)


def judged(median, aim, lost=0):
    """Returns the verdict: met if the interval's lower end is within the aim and nothing was lost."""
    if lost:
        return f"**missed**: {lost:,} lost"
    if median.low > aim:
        return "**missed**"
    return "met" if median.middle <= aim else "met by the lower end"


def of_fanout(measured, scenario):
    name = f"{scenario.title}, × {scenario.floor}"
    of = measured.lines("fanout", scenario=scenario.name, subject="node")
    median = Median.of(ratios(measured, scenario, "node", scenario.measure))
    lost = sum(line["lost"] for line in of)
    aim = f"≤ {scenario.aim:.2f}, 0 lost"
    if median is None:
        return [name, aim, ABSENT, "", "", f"**missed**: {lost:,} lost" if lost else ""]
    cells = [number(median.middle, 2), interval(median, 2), median.count]
    few = " (too few turns)" if median.count < TURNS else ""
    return [name, aim, *cells, judged(median, scenario.aim, lost) + few]


def of_idle(measured, subject, aim, name):
    lines = measured.lines("idle", subject=subject)
    median = Median.of([line["bytes"] for line in lines])
    if median is None:
        return [name, f"≤ {aim:,}", ABSENT, "", "", ""]
    sockets = f"mean of {lines[0]['sockets']:,} sockets"
    return [name, f"≤ {aim:,}", number(median.middle), sockets, 1, judged(median, aim)]


def of_connects(measured):
    name = "CPU of a connect, µs: plain, ticket checked, memberships read from memory"
    aim = 1e6 / CONNECTS_A_SECOND
    said = f"≤ {aim:.0f} ({CONNECTS_A_SECOND:,} a second and core)"
    median = Median.of([line["cpu_us"] for line in measured.lines("connects", subject="plain")])
    if median is None:
        return [name, said, ABSENT, "", "", ""]
    cells = [number(median.middle, 1), interval(median, 1), median.count]
    return [name, said, *cells, judged(median, aim)]


def of_fleet(measured):
    lines = measured.lines("fleet")
    name, aim = "one channel of 90,000 sockets: sockets that got each message", "all"
    if not lines:
        return [name, aim, ABSENT, "", "", ""]
    least, sockets = min(line["got"] for line in lines), lines[0]["sockets"]
    verdict = "met" if least == sockets >= 90_000 else "**missed**"
    return [name, aim, f"{least:,} of {sockets:,}", "", len(lines), verdict]


def of_scroll(measured):
    name, ten_million = "p50 of a page, newest, at 10^7 messages, × at 10^3", 10_000_000
    lines = measured.lines("scroll_ratio", schema="log", messages=ten_million, to_messages=1_000)
    newest = [line for line in lines if line["position"] == "newest"]
    if not newest:
        return [name, "≤ 1.20", ABSENT, "", "", ""]
    line = newest[0]
    median = Median(line["ratio"], line["ratio_low"], line["ratio_high"], line["rounds"])
    cells = [number(median.middle, 2), interval(median, 2), median.count]
    return [name, "≤ 1.20", *cells, judged(median, 1.2)]


def of_send(measured):
    name, aim = "a send: write units + strong read units", "1 + 2"
    found = measured.lines("rest_call", call="send")
    rows = [[name, aim, ABSENT, "", "", ""]]
    for line in found:
        if line.get("store"):
            write, read = line["store"]["write_units"], line["store"]["read_units"]
            verdict = "met" if write == 1 and read == 2 else "**missed**"
            rows[0] = [name, aim, f"{write:g} + {read:g}", "counted", "", verdict]
    ways = {"lambda": "as deployed", "handler": "as the local gateway runs it"}
    for where, said in ways.items():
        name, aim = f"a send: own code, µs of CPU, {said}", "≤ 100"
        lines = [line for line in found if line["where"] == where and "own" in line["parts"]]
        if not lines:
            rows.append([name, aim, ABSENT, "", "", ""])
            continue
        us = lines[0]["parts"]["own"]["us"]
        verdict = "met" if us <= 100 else "**missed**"
        rows.append([name, aim, number(us), "from instructions", "", verdict])
    return rows


# What was measured, and where


def machine(measured):
    rows = []
    for key, run in sorted(measured.runs.items()):
        about = sorted({line["machine"] for line in run.lines})
        rows.append([" ".join(key), len(run.lines), f"`{run.commit}`", run.date, ", ".join(about)])
    return table(["figure", "lines", "commit", "date", "machine"], rows)


# Sockets


def fanout(measured):
    rows = []
    for scenario in SCENARIOS:
        for subject in measured.subjects("fanout", scenario=scenario.name):
            lines = measured.lines("fanout", scenario=scenario.name, subject=subject)
            cpu = Median.of([line["cpu_ns"] for line in lines])
            measure = Median.of([line[scenario.measure] for line in lines])
            cells = [scenario.name, subject, middle(cpu, 0)]
            cells.append(beside(measured, scenario, subject, "cpu_ns"))
            if scenario.measure == "cpu_ns":
                cells += ["", ""]
            else:
                cells.append(f"{middle(measure, 2)} {scenario.unit}")
                cells.append(beside(measured, scenario, subject, scenario.measure))
            rows.append([*cells, f"{sum(line['lost'] for line in lines):,}", len(lines)])
    head = ["", "server", "CPU a delivery, ns", "× floor", "last receiver, or p99", "× floor"]
    return table([*head, "lost", "turns"], rows)


def beside(measured, scenario, subject, measure):
    if subject == scenario.floor:
        return "1"
    return around(Median.of(ratios(measured, scenario, subject, measure)), 2)


def others(peers):
    rows = []
    columns = [dict(peers_of(peers, scenario)) for scenario in SCENARIOS]
    for server in peers["servers"]:
        name = server["name"]
        rows.append([name, *(number(column[name], 2) for column in columns)])
        rows[-1] += [number(server["idle"]), number(server["connects"])]
    head = ["server", "A", "A16", "B, last receiver", "C, best p99", "idle socket, bytes"]
    return table([*head, "connects a second"], rows)


def latency(measured):
    rows = []
    for subject in sorted(measured.subjects("fanout", scenario="C")):
        lines = measured.lines("fanout", scenario="C", subject=subject)
        medians = [Median.of([line[name] for line in lines]) for name, _ in LATE]
        rows.append([subject, *(around(median, 2) for median in medians)])
    text = "C, ms from publishing to a socket's client, medians of the turns' percentiles:\n\n"
    text += table(["server", *(name for _, name in LATE)], rows)
    rows = []
    for subject in sorted(measured.subjects("fanout", scenario="B")):
        lines = measured.lines("fanout", scenario="B", subject=subject)
        names = ("last_p50_ms", "last_max_ms")
        medians = [Median.of([line[name] for line in lines]) for name in names]
        rows.append([subject, *(around(median, 0) for median in medians)])
    text += "\n\nB, ms until the last of 10,000 has it, of the eight messages of a turn:\n\n"
    return text + table(["server", "p50", "greatest"], rows)


def fairness(measured):
    of = {name: measured.lines("fairness", neighbour=name) for name in ("none", "huge")}
    if not of["none"] or not of["huge"]:
        return ABSENT
    members = f"{of['huge'][0]['members']:,}"
    rows = []
    for name, said in [("none", "alone"), ("huge", f"beside a channel of {members}")]:
        medians = [Median.of([line[field] for line in of[name]]) for field in ("p50_ms", "p99_ms", "max_ms")]
        lost = sum(line["lost"] for line in of[name])
        rows.append([said, *(around(median, 2) for median in medians), lost, len(of[name])])
    ratio = Median.of(turn_by_turn(of["huge"], of["none"], "p99_ms"))
    last = Median.of([line["huge_last_ms"] for line in of["huge"]])
    text = table(["a channel of 100", "p50, ms", "p99, ms", "greatest, ms", "lost", "turns"], rows)
    return text + (
        f"\n\nNext to the huge channel, p99 is × {around(ratio, 2)} of p99 alone. The last of the {members} gets a "
        f"message after {middle(last, 0)} ms: a small channel that had to queue behind it would wait that long."
    )


def idle(measured):
    rows = []
    for line in measured.lines("idle"):
        aim = f"≤ {line['aim']:,}" if line["aim"] else ""
        verdict = "" if not line["aim"] else "met" if line["bytes"] <= line["aim"] else "**missed**"
        rows.append([line["subject"], f"{line['bytes']:,}", aim, verdict])
    return table(["", "bytes a socket", "aim", ""], rows)


PARTS = {
    "task": "task: the driver with its reading half, what both halves share",
    "registration": "the runtime's registration of the socket",
    "shard": "shard: the socket's writing half and queue, where to find it",
    "session": "session: the user, channels, views, audiences",
    "node": "node: sockets' numbers, spent tickets, workspaces",
    "buffers": "buffers: heads, parsers, unfinished frames",
    "tls": "TLS",
    "load": "the load tool's own, its in-memory store included",
    "other": "other",
}


def idle_parts(measured):
    subjects = measured.subjects("idle_part")
    columns = [idle_column(measured, subject) for subject in subjects]
    names = [*PARTS.values(), "all blocks of the heap", "allocator and rounding", "measured"]
    rows = [
        [name, *(cell for column in columns for cell in column.get(name, ["", ""]))]
        for name in names
        if any(name in column for column in columns)
    ]
    head = [cell for subject in subjects for cell in (f"{subject}: bytes a socket", "blocks")]
    return table(["", *head], rows)


def idle_column(measured, subject):
    """Returns a subject's bytes and blocks by row, and the rest if its memory was measured as well."""
    lines = measured.lines("idle_part", subject=subject)
    column = {
        PARTS[line["part"]]: [number(line["bytes"], 0), number(line["blocks"], 2)] for line in lines
    }
    whole = sum(line["bytes"] for line in lines)
    blocks = sum(line["blocks"] for line in lines)
    column["all blocks of the heap"] = [number(whole, 0), number(blocks, 2)]
    for line in measured.lines("idle", subject=subject):
        column["allocator and rounding"] = [number(line["bytes"] - whole, 0), ""]
        column["measured"] = [number(line["bytes"], 0), ""]
    return column


def connects(measured):
    rows = []
    for subject in measured.subjects("connects"):
        lines = measured.lines("connects", subject=subject)
        cpu = Median.of([line["cpu_us"] for line in lines])
        rate = Median.of([1e6 / line["cpu_us"] for line in lines])
        wall = Median.of([line["open"] / line["seconds"] for line in lines])
        p99 = Median.of([line["p99_ms"] for line in lines])
        cells = [middle(cpu, 1), around(rate), middle(wall), middle(p99, 0)]
        rows.append([subject, *cells, len(lines)])
    head = ["", "CPU a connect, µs", "a second and core", "a second, by the clock", "p99, ms", "turns"]
    return table(head, rows)


KINDS = {
    "sockets": "sockets",
    "workspaces": "workspaces",
    "members": "members of a channel",
    "nodes, affinity": "nodes, with affinity",
    "nodes, none": "nodes, without affinity",
}


def growth(measured):
    rows = []
    for kind, name in KINDS.items():
        for line in sorted(measured.lines("growth", kind=kind), key=lambda line: line["x"]):
            row = [name, f"{line['x']:,}", line["nodes"], f"{line['sockets']:,}"]
            row += [f"{line['bytes']:,}", number(line["idle_us"] / 1e4, 2)]
            row += [number(line["cpu_ns"], 0), number(line["copies"], 2), f"{line['lost']:,}"]
            rows.append(row)
    head = ["what grows", "to", "nodes", "sockets", "bytes a socket", "idle node, % of a core"]
    return table([*head, "CPU a delivery, ns", "copies a publication", "lost"], rows)


def fleet(measured):
    lines = measured.lines("fleet")
    if not lines:
        return ABSENT
    first = lines[0]
    rows = [
        [line["message"] + 1, f"{line['got']:,}", f"{line['last_ms']:,}", number(line["cpu_ns"], 0)]
        for line in sorted(lines, key=lambda line: line["message"])
    ]
    text = (
        f"{first['sockets']:,} sockets of {first['users']:,} users on {first['nodes']} nodes, open after "
        f"{first['opened_s']:.1f} s.\nA socket takes {first['socket_bytes']:,} bytes of its node's memory, "
        f"and {first['kernel_bytes']:,} of the kernel's at each of its two ends.\n\n"
    )
    head = ["message", "sockets that have it", "last receiver after, ms", "CPU a delivery, ns"]
    return text + table(head, rows)


# REST


SCHEMAS = {
    ("log", "newest"): "Inkwire, the newest page",
    ("log", "middle"): "Inkwire, a page in the middle",
    ("naive_table", "newest"): "naive table, newest",
    ("naive_sql", "newest"): "naive SQL, newest",
}


def scroll(measured):
    beside_least = {
        (line["schema"], line["position"], line["messages"]): line
        for line in measured.lines("scroll_ratio")
    }
    rows = []
    for (schema, position), name in SCHEMAS.items():
        lines = measured.lines("scroll_page", schema=schema, position=position)
        for line in sorted(lines, key=lambda line: line["messages"]):
            ratio = beside_least.get((schema, position, line["messages"]))
            shown = f"[{number(line['p50_low_us'])}, {number(line['p50_high_us'])}]"
            cells = [name, f"{line['messages']:,}", f"{number(line['p50_us'])} {shown}"]
            cells.append(number(line["p99_us"]))
            cells.append(number(line.get("read_units"), 1))
            if ratio:
                low, high = number(ratio["ratio_low"], 2), number(ratio["ratio_high"], 2)
                cells.append(f"{number(ratio['ratio'], 2)} [{low}, {high}]")
            else:
                cells.append("")
            rows.append(cells)
    return table(["schema", "messages", "p50, µs", "p99, µs", "read units", "× the smallest"], rows)


def calls(measured):
    rows = []
    for line in sorted(measured.lines("rest_call"), key=lambda line: (line["call"], line["where"])):
        parts = line["parts"]
        row = [line["call"], line["where"]]
        row += [number(line["cpu_us"], 0), number(line["instructions"] / 1e3, 0)]
        for name in ("own", "sdk", "redis", "http", "lambda"):
            row.append(number(parts[name]["us"], 0) if name in parts else "")
        row += [number(line["allocations"], 0), number(line["allocated_bytes"] / 1e3, 0)]
        store = line.get("store") or {}
        units = [store.get(name) for name in ("store_calls", "read_units", "write_units")]
        row += ["" if unit is None else f"{unit:g}" for unit in units]
        rows.append([*row, f"{line['redis_scripts']:.2g}"])
    head = ["call", "run as", "CPU, µs", "10³ instructions", "own, µs", "SDK, µs"]
    head += ["Redis, µs", "HTTP, µs", "Lambda, µs", "allocations", "kB allocated", "store calls", "read units", "write units"]
    return table([*head, "Redis scripts"], rows)


def instructions(measured):
    rows = []
    for line in sorted(measured.lines("instructions"), key=lambda line: line["operation"]):
        counts = line["counts"]
        named = ("all", "own", "allocations", "allocated bytes")
        rows.append([line["operation"], *(number(counts.get(name), 0) for name in named)])
    return table(["hot path", "instructions", "of these own code", "allocations", "allocated bytes"], rows)
