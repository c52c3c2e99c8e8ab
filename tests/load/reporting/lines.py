"""Lines that the load tool wrote: which of them count, and their medians."""

import json
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone

# For each figure: fields of a part that can be measured alone, and fields that differ between the
# lines of one run. A line that repeats another one's values of them starts the next run.
FIGURES = {
    "fanout": (["scenario"], ["subject", "repetition"]),
    "fairness": ([], ["neighbour", "repetition"]),
    "idle": ([], ["subject"]),
    "idle_part": ([], ["subject", "part"]),
    "connects": ([], ["subject", "repetition"]),
    "fleet": ([], ["message"]),
    "growth": (["kind"], ["x"]),
    "brownout": (["variant", "silent_s"], ["variant"]),
    "reconnect": ([], ["clients"]),
    "scroll_page": ([], ["schema", "position", "messages"]),
    "scroll_ratio": ([], ["schema", "position", "messages"]),
    "rest_call": (["call"], ["where"]),
    "instructions": ([], ["operation"]),
}


@dataclass
class Run:
    """Lines of one commit, none of which repeats another."""

    commit: str
    lines: list = field(default_factory=list)
    seen: set = field(default_factory=set)

    @property
    def date(self):
        at = max(line["at"] for line in self.lines)
        return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d")


class Measured:
    """The last run of each figure, and how many lines of older runs there are."""

    def __init__(self, lines):
        self.runs, self.ignored, self.unknown = {}, {}, {}
        # Keep a line that is in two files only once.
        lines = {json.dumps(line, sort_keys=True): line for line in lines}.values()
        for line in sorted(lines, key=lambda line: line["at"]):
            self._take(line)

    def _take(self, line):
        figure = line["figure"]
        if figure not in FIGURES:
            self.unknown[figure] = self.unknown.get(figure, 0) + 1
            return
        part, different = FIGURES[figure]
        key = (figure, *(line[name] for name in part))
        identity = tuple(line[name] for name in different)
        run = self.runs.get(key)
        if run is None or run.commit != line["commit"] or identity in run.seen:
            self.ignored[key] = self.ignored.get(key, 0) + (len(run.lines) if run else 0)
            run = self.runs[key] = Run(line["commit"])
        run.lines.append(line)
        run.seen.add(identity)

    def lines(self, figure, **wanted):
        """Lines of a figure that have these values."""
        return [
            line
            for key, run in self.runs.items()
            if key[0] == figure
            for line in run.lines
            if all(line.get(name) == value for name, value in wanted.items())
        ]

    def subjects(self, figure, **wanted):
        """Who was measured, in the order of the lines."""
        return list(dict.fromkeys(line["subject"] for line in self.lines(figure, **wanted)))


def read(paths):
    """All lines of the files; the number of one that is none is told."""
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                    line["figure"], line["at"], line["commit"]
                except (ValueError, KeyError, TypeError) as error:
                    raise SystemExit(f"report: {path}:{number} is no measurement: {error!r}") from None
                lines.append(line)
    return Measured(lines)


@dataclass
class Median:
    """The middle of values, with the order statistics that enclose it with 95 %.

    Of fewer than six values no two do: then the least and the greatest stand for it.
    """

    middle: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values):
        # A line without this figure has null.
        values = sorted(value for value in values if value is not None)
        if not values:
            return None
        spare = cut(len(values))
        return cls(statistics.median(values), values[spare], values[-1 - spare], len(values))


def cut(count):
    """How many values each end can spare: 3 of 15. As `stats.rs` has it."""
    spare, exactly = 0, 0.5**count
    at_most = exactly
    while at_most + exactly * (count - spare) / (spare + 1) <= 0.025:
        exactly *= (count - spare) / (spare + 1)
        spare += 1
        at_most += exactly
    return spare


@dataclass
class Scenario:
    """What a scenario of the fan-out compares, and with what."""

    name: str
    measure: str
    unit: str
    aim: float
    floor: str
    title: str
    short: str
    peers: str


SCENARIOS = [
    Scenario(
        "A", "cpu_ns", "ns", 1.15, "floor write",
        "A: CPU a delivery, one publication in flight", "A: CPU a delivery,\none in flight", "a",
    ),
    Scenario(
        "A16", "cpu_ns", "ns", 1.0, "floor writev8",
        "A16: CPU a delivery, 16 in flight", "A16: CPU a delivery,\n16 in flight", "a16",
    ),
    Scenario(
        "B", "last_p50_ms", "ms", 1.2, "floor write",
        "B: until the last of 10,000 has it", "B: last of 10,000\nhas it", "last_ms",
    ),
    Scenario(
        "C", "p99_ms", "ms", 2.0, "floor write",
        "C: p99 of 20,000 deliveries a second", "C: p99 at 20,000\ndeliveries a second", "p99_ms",
    ),
]


# The latencies of deliveries in C.
LATE = [
    ("p50_ms", "p50"),
    ("p90_ms", "p90"),
    ("p99_tenth_ms", "p99 of tenths"),
    ("p99_ms", "p99"),
    ("p999_ms", "p99.9"),
    ("max_ms", "greatest"),
]


def ratios(measured, scenario, subject, measure):
    """A subject's values over the floor's of the same turn."""
    turns = measured.lines("fanout", scenario=scenario.name, subject=subject)
    floor = measured.lines("fanout", scenario=scenario.name, subject=scenario.floor)
    return turn_by_turn(turns, floor, measure)


def turn_by_turn(lines, floor, measure):
    """Values over those of other lines of the same turns."""
    of = {line["repetition"]: line for line in lines}
    return [
        of[line["repetition"]][measure] / line[measure]
        for line in floor
        if line.get(measure) and of.get(line["repetition"], {}).get(measure) is not None
    ]


def peers_of(peers, scenario):
    """Other servers' ratios to the floor of their runs."""
    floor = peers["floor"].get(scenario.peers, 1)
    return [(server["name"], server[scenario.peers] / floor) for server in peers["servers"]]
