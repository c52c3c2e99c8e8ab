"""Draws the page's plots as SVG. Text stays text, and the same lines give the same bytes."""

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot, ticker  # noqa: E402

from .lines import LATE, SCENARIOS, Median, peers_of, ratios  # noqa: E402

# From the palette of Okabe and Ito, which colour-blind readers can distinguish.
NODE, AIM, OTHER, FLOOR, INK = "#0072b2", "#d55e00", "#cc79a7", "#767676", "#222222"
SECOND = "#009e73"

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "inkwire",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FLOOR,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
ELSEWHERE = "measured elsewhere: same method, other run"


def draw(measured, peers, folder):
    """Draws each plot that has lines, and deletes the others. Returns the names of the drawn plots."""
    drawn = set()
    with matplotlib.rc_context(STYLE):
        for name, plot in PLOTS.items():
            figure = plot(measured, peers)
            path = folder / f"{name}.svg"
            if figure is None:
                path.unlink(missing_ok=True)
                continue
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            pyplot.close(figure)
            drawn.add(name)
    return drawn


def spread(values, width=0.22):
    """Returns offsets that spread a row's points, in the order of the turns, so that none is hidden."""
    step = width * 2 / max(len(values) - 1, 1)
    return [-width + step * at for at in range(len(values))]


def plain(axis):
    """Labels a logarithmic axis with plain numbers."""
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def power(value, _):
    """Formats 1, 10¹, 10² with superscript characters: matplotlib would draw an exponent as a path."""
    raised = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "1" if value == 1 else "10" + str(len(f"{value:.0f}") - 1).translate(raised)


def kibibytes(value, _):
    return f"{value:.0f}" if value < 1024 else f"{value / 1024:.0f} KiB"


def powers(axis):
    """Labels an axis of counts with powers of ten."""
    axis.set_major_locator(ticker.LogLocator(10, numticks=12))
    axis.set_major_formatter(ticker.FuncFormatter(power))
    axis.set_minor_locator(ticker.NullLocator())


def legend(figure, entries, columns):
    """Draws one legend below all panels. An entry is (name, marker or line style, colour, is filled)."""
    handles = []
    for name, mark, colour, is_filled in entries:
        is_line = mark in ("-", "--")
        handles.append(
            matplotlib.lines.Line2D(
                [], [], color=colour, label=name,
                linestyle=mark if is_line else "none", marker=None if is_line else mark,
                markerfacecolor=colour if is_filled else "white", markersize=6,
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def rows(axes, names):
    """Labels the rows of a panel, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.6)
    for panel in axes.figure.axes:
        panel.grid(axis="y", visible=False)
        panel.tick_params(axis="y", length=0)


def measured_row(axes, at, values, colour):
    """Draws a row: its turns as points, and their median with its interval."""
    values = [value for value in values if value is not None]
    median = Median.of(values)
    offsets = [at + offset for offset in spread(values)]
    axes.plot(values, offsets, "o", color=colour, alpha=0.35, markersize=3.5, markeredgewidth=0)
    axes.plot([median.low, median.high], [at, at], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot([median.middle], [at], "D", color=colour, markersize=6.5, markeredgecolor="white")
    return median


def fanout(measured, peers):
    if not measured.lines("fanout", subject="node"):
        return None
    figure, panels = pyplot.subplots(1, 4, figsize=(9.6, 4.4), layout="constrained", sharey=True)
    own = {"node": ("Inkwire", NODE), "floor tasks": ("floor, a task a socket", FLOOR)}
    own = {name: row for name, row in own.items() if measured.lines("fanout", subject=name)}
    others = [server["name"] for server in sorted(peers["servers"], key=lambda server: server["a"])]
    for axes, scenario in zip(panels.flat, SCENARIOS):
        axes.axvline(1, color=INK, linewidth=0.8)
        axes.axvline(scenario.aim, color=AIM, linestyle="--", linewidth=1.4)
        for at, (subject, (_, colour)) in enumerate(own.items()):
            values = ratios(measured, scenario, subject, scenario.measure)
            if values:
                median = measured_row(axes, at, values, colour)
                label(axes, max(values), at, f"{median.middle:.2f}", colour, True)
        elsewhere = dict(peers_of(peers, scenario))
        for at, name in enumerate(others, len(own)):
            axes.plot([elsewhere[name]], [at], "s", color=FLOOR, markerfacecolor="white", markersize=5)
            label(axes, elsewhere[name], at, f"{elsewhere[name]:.2f}", FLOOR, False)
        axes.set_xscale("log")
        least, most = axes.get_xlim()
        least, most = min(least, 0.7), max(most, 4)
        # Leave room for the number beside the last point.
        axes.set_xlim(least, most * (most / least) ** 0.3)
        ticks = [tick for tick in (0.5, 1, 2, 4, 10, 40, 100, 400) if least <= tick <= most]
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        plain(axes.xaxis)
        axes.set_title(scenario.short, color=INK)
        axes.set_xlabel(f"× {scenario.floor}; aim ≤ {scenario.aim:g}")
    rows(panels[0], [name for name, _ in own.values()] + others)
    legend(figure, [
        ("a turn", "o", NODE, True), ("median, 95 % interval", "D", NODE, True),
        ("aim", "--", AIM, True), ("floor", "-", INK, True), (ELSEWHERE, "s", FLOOR, False),
    ], 5)
    return figure


SUBJECTS = {"node": (NODE, "D"), "floor write": (FLOOR, "o"), "floor tasks": (OTHER, "s")}


def latency(measured, _):
    subjects = measured.subjects("fanout", scenario="C")
    lasts = measured.subjects("fanout", scenario="B")
    if not subjects and not lasts:
        return None
    figure, (late, last) = pyplot.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    for nth, subject in enumerate(sorted(subjects)):
        colour, mark = SUBJECTS[subject]
        lines = measured.lines("fanout", scenario="C", subject=subject)
        medians = []
        for at, (name, _) in enumerate(LATE):
            values = [line[name] for line in lines]
            shifted = at + (nth - (len(subjects) - 1) / 2) * 0.24
            xs = [shifted + offset for offset in spread(values, 0.07)]
            late.plot(xs, values, "o", color=colour, alpha=0.35, markersize=3, markeredgewidth=0)
            medians.append((shifted, Median.of(values)))
        medians = [(x, median) for x, median in medians if median]
        middle = [median.middle for _, median in medians]
        late.plot([x for x, _ in medians], middle, "-" + mark, color=colour, linewidth=1.2,
                  markersize=5.5, markeredgecolor="white")
    late.set_yscale("log")
    plain(late.yaxis)
    late.set_xticks(range(len(LATE)), [name for _, name in LATE])
    late.grid(axis="x", visible=False)
    late.set_title("C: 20,000 deliveries a second to 10,000 sockets")
    late.set_ylabel("ms from publishing to the client")
    for at, subject in enumerate(sorted(lasts)):
        colour, mark = SUBJECTS[subject]
        lines = measured.lines("fanout", scenario="B", subject=subject)
        values = [line["last_p50_ms"] for line in sorted(lines, key=lambda line: line["repetition"])]
        turns = [line["repetition"] + 1 for line in sorted(lines, key=lambda line: line["repetition"])]
        last.plot(turns, values, mark, color=colour, markersize=5, markeredgecolor="white",
                  markeredgewidth=0.5)
        last.axhline(Median.of(values).middle, color=colour, linewidth=1.2)
    aims(measured, late, last)
    from_zero(last)
    last.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    last.grid(axis="x", visible=False)
    last.set_title("B: until the last of 10,000 has a publication")
    last.set_ylabel("ms, p50 of eight")
    last.set_xlabel("turn; line: median of the turns")
    names = sorted({*subjects, *lasts})
    entries = [(name, SUBJECTS[name][1], SUBJECTS[name][0], True) for name in names]
    legend(figure, [*entries, ("aim: so many times the floor's median", "--", AIM, True)], 4)
    return figure


def aims(measured, late, last):
    """Draws the aims: in C at the p99, in B over all turns."""
    for axes, scenario in ((late, SCENARIOS[3]), (last, SCENARIOS[2])):
        lines = measured.lines("fanout", scenario=scenario.name, subject=scenario.floor)
        floor = Median.of([line[scenario.measure] for line in lines])
        if floor is None:
            continue
        aim = scenario.aim * floor.middle
        if axes is last:
            axes.axhline(aim, color=AIM, linestyle="--", linewidth=1.4)
        else:
            at = [name for name, _ in LATE].index(scenario.measure)
            axes.plot([at - 0.4, at + 0.4], [aim, aim], color=AIM, linestyle="--", linewidth=1.4)


def idle(measured, peers):
    lines = measured.lines("idle")
    if not lines:
        return None
    others = [(server["name"], server["idle"]) for server in peers["servers"]]
    others.sort(key=lambda peer: peer[1])
    names = [line["subject"].replace("node", "Inkwire") for line in lines]
    names += [name for name, _ in others]
    figure, axes = pyplot.subplots(figsize=(9.6, 0.28 * len(names) + 1.4), layout="constrained")
    least = 30
    for at, line in enumerate(lines):
        is_node = line["subject"].startswith("node")
        colour = NODE if is_node else FLOOR
        value = max(line["bytes"], least)
        axes.plot([value], [at], "D" if is_node else "o", color=colour, markersize=6, clip_on=False)
        label(axes, value, at, f"{line['bytes']:,}", colour, is_node)
        if line["aim"]:
            axes.plot([line["aim"]] * 2, [at - 0.42, at + 0.42], color=AIM, linewidth=2)
    for at, (_, value) in enumerate(others, len(lines)):
        axes.plot([value], [at], "s", color=FLOOR, markerfacecolor="white", markersize=5)
        label(axes, value, at, f"{value:,}", FLOOR, False)
    axes.set_xscale("log")
    axes.set_xlim(least, 600_000)
    axes.set_xticks([2**power for power in range(6, 20, 2)])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(kibibytes))
    rows(axes, names)
    axes.set_xlabel("bytes of the process an idle socket")
    legend(figure, [
        ("Inkwire", "D", NODE, True), ("floor of the run", "o", FLOOR, True),
        ("aim, at most", "-", AIM, True), (ELSEWHERE, "s", FLOOR, False),
    ], 4)
    return figure


def label(axes, x, y, text, colour, is_bold):
    """Writes a point's value beside it, above any lines."""
    axes.annotate(text, (x, y), (8, 0), textcoords="offset points", va="center", color=colour,
                  fontsize=8, fontweight="bold" if is_bold else "normal",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})


def connects(measured, peers):
    subjects = measured.subjects("connects")
    if not subjects:
        return None
    others = [(server["name"], server["connects"]) for server in peers["servers"]]
    others.sort(key=lambda peer: -peer[1])
    names = [f"Inkwire, {subject}" for subject in subjects] + [name for name, _ in others]
    figure, axes = pyplot.subplots(figsize=(9.6, 0.28 * len(names) + 1.4), layout="constrained")
    for at, subject in enumerate(subjects):
        rates = [1e6 / line["cpu_us"] for line in measured.lines("connects", subject=subject)]
        median = measured_row(axes, at, rates, NODE)
        label(axes, max(rates), at, f"{median.middle:,.0f}", NODE, True)
        if subject == "plain":
            axes.plot([10_000] * 2, [at - 0.42, at + 0.42], color=AIM, linewidth=2)
    for at, (_, value) in enumerate(others, len(subjects)):
        axes.plot([value], [at], "s", color=FLOOR, markerfacecolor="white", markersize=5)
        label(axes, value, at, f"{value:,}", FLOOR, False)
    axes.set_xlim(0, max(32_000, 1.15 * axes.dataLim.x1))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    rows(axes, names)
    axes.set_xlabel("connects a second and core")
    legend(figure, [
        ("Inkwire, median", "D", NODE, True), ("aim, at least", "-", AIM, True),
        (ELSEWHERE, "s", FLOOR, False),
    ], 3)
    return figure


def growth(measured, _):
    if not measured.lines("growth"):
        return None
    figure, panels = pyplot.subplots(2, 3, figsize=(9.6, 5.6), layout="constrained")
    lines = {
        kind: sorted(measured.lines("growth", kind=kind), key=lambda line: line["x"])
        for kind in ("sockets", "workspaces", "members", "nodes, affinity", "nodes, none")
    }
    # The line of a single node belongs to both curves.
    spread_out = [line for line in lines["nodes, affinity"] if line["x"] == 1] + lines["nodes, none"]
    cpu, idle_cpu = scaled("cpu_ns", 1e3), scaled("idle_us", 1e4)
    one = [
        (panels[0][0], "sockets", cpu, "sockets, in channels of ten", "CPU a delivery, µs"),
        (panels[0][1], "workspaces", cpu, "workspaces of one node", "CPU a delivery, µs"),
        (panels[0][2], "members", cpu, "members, 100 of them here at most", "CPU a delivery, µs"),
        (panels[1][0], "workspaces", idle_cpu, "workspaces of one node", "idle node, % of a core"),
    ]
    for axes, kind, value, what, unit in one:
        row = lines[kind]
        axes.plot([line["x"] for line in row], [value(line) for line in row], "-D",
                  color=NODE, markersize=5)
        axes.set_xscale("log")
        powers(axes.xaxis)
        axes.set_title(unit)
        axes.set_xlabel(what)
        if kind == "sockets":
            several(axes, row, value)
        from_zero(axes)
    for axes, value, unit in (
        (panels[1][1], scaled("copies", 1), "copies a publication"),
        (panels[1][2], cpu, "CPU a delivery, µs"),
    ):
        for row, colour, mark in ((lines["nodes, affinity"], NODE, "D"), (spread_out, AIM, "s")):
            axes.plot([line["x"] for line in row], [value(line) for line in row], "-" + mark,
                      color=colour, markersize=5)
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 2, 4, 8])
        plain(axes.xaxis)
        axes.set_title(unit)
        axes.set_xlabel("nodes, 8,000 sockets in all")
        from_zero(axes)
    legend(figure, [
        ("each workspace on few nodes (affinity)", "D", NODE, True),
        ("each workspace on all nodes", "s", AIM, True),
    ], 2)
    return figure


def scaled(name, by):
    """Returns a function that reads a field in another unit; NaN if the line has none."""
    return lambda line: float("nan") if line[name] is None else line[name] / by


def from_zero(axes):
    axes.set_ylim(0, axes.get_ylim()[1] * 1.06)


def several(axes, row, value):
    """Labels points that were measured on more than one node."""
    for line in row:
        if line["nodes"] > 1:
            axes.annotate(f"{line['nodes']} nodes", (line["x"], value(line)), (-6, 0), ha="right",
                          va="center", textcoords="offset points", fontsize=8, color=NODE)


def fleet(measured, _):
    lines = sorted(measured.lines("fleet"), key=lambda line: line["message"])
    if not lines:
        return None
    figure, axes = pyplot.subplots(figsize=(9.6, 0.34 * len(lines) + 1.1), layout="constrained")
    for at, line in enumerate(lines):
        axes.barh(at, line["last_ms"] / 1e3, color=NODE, height=0.62)
        cpu_us = scaled("cpu_ns", 1e3)(line)
        text = f"{line['last_ms'] / 1e3:.2f} s, {line['got']:,} sockets, {cpu_us:.1f} µs of CPU a delivery"
        if line["last_ms"] > 0.35 * max(line["last_ms"] for line in lines):
            axes.annotate(text, (0, at), (6, 0), textcoords="offset points", va="center",
                          color="white", fontsize=8)
        else:
            label(axes, line["last_ms"] / 1e3, at, text, NODE, False)
    rows(axes, [f"message {line['message'] + 1}" for line in lines])
    axes.set_xlim(left=0)
    axes.set_xlabel("s from publishing until the last socket has it")
    return figure


def reconnect(measured, _):
    lines = measured.lines("reconnect")
    if not lines:
        return None
    line = lines[-1]
    figure, axes = pyplot.subplots(figsize=(9.6, 3.2), layout="constrained")
    entries = []
    after = f"after {line['away_s']} s without a store"
    for key, name, colour in [("quiet", "in quiet times", FLOOR), ("after", after, NODE)]:
        a_second = line[f"{key}_a_second"]
        axes.plot(range(len(a_second)), a_second, color=colour, linewidth=1.8)
        entries.append((name, "-", colour, True))
    axes.axhline(2 * line["quiet_peak"], color=AIM, linewidth=1.2, linestyle="--")
    entries.append(("bar: twice the quiet return", "--", AIM, True))
    from_zero(axes)
    axes.set_xlim(left=0)
    axes.set_xlabel("s since the clients could come back")
    axes.set_ylabel("requests of the store a second")
    axes.set_title(f"{line['clients']:,} clients come back")
    legend(figure, entries, 3)
    return figure


SCHEMAS = [
    ("log", "newest", "Inkwire, the newest page", NODE, "D"),
    ("log", "middle", "Inkwire, a page in the middle", SECOND, "o"),
    ("naive_table", "newest", "naive table, newest", AIM, "s"),
    ("naive_sql", "newest", "naive SQL, newest", OTHER, "^"),
]


def scroll(measured, _):
    if not measured.lines("scroll_page"):
        return None
    figure, axes = pyplot.subplots(figsize=(9.6, 4.2), layout="constrained")
    entries = []
    for schema, position, name, colour, mark in SCHEMAS:
        lines = measured.lines("scroll_page", schema=schema, position=position)
        lines = sorted(lines, key=lambda line: line["messages"])
        if not lines:
            continue
        middle = [line["p50_us"] / 1e3 for line in lines]
        below = [(line["p50_us"] - line["p50_low_us"]) / 1e3 for line in lines]
        above = [(line["p50_high_us"] - line["p50_us"]) / 1e3 for line in lines]
        axes.errorbar([line["messages"] for line in lines], middle, [below, above], fmt="-" + mark,
                      color=colour, markersize=5.5, capsize=3, linewidth=1.4)
        entries.append((name, mark, colour, True))
    axes.set_xscale("log")
    axes.set_yscale("log")
    powers(axes.xaxis)
    plain(axes.yaxis)
    axes.set_xlabel("messages in the channel")
    axes.set_ylabel("ms, p50 of a page of 20")
    legend(figure, entries, 4)
    return figure


PLOTS = {
    "fanout": fanout,
    "latency": latency,
    "idle": idle,
    "connects": connects,
    "growth": growth,
    "fleet": fleet,
    "scroll": scroll,
    "reconnect": reconnect,
}
