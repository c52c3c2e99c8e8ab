"""Reads the lines that the load tool wrote, selects the last run of each figure, and computes medians."""

import json
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone

# For each figure: the fields that name a part which can be measured alone, and the fields that
# identify a line within one run. A line that repeats an identity starts the next run.
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
    """The lines of one run: of one commit, each with a distinct identity."""

    commit: str
    lines: list = field(default_factory=list)
    seen: set = field(default_factory=set)

    @property
    def date(self):
        at = max(line["at"] for line in self.lines)
        return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d")


class Measured:
    """The last run of each figure, and the number of lines of older runs."""

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
        """Returns the lines of a figure that have these values."""
        return [
            line
            for key, run in self.runs.items()
            if key[0] == figure
            for line in run.lines
            if all(line.get(name) == value for name, value in wanted.items())
        ]

    def subjects(self, figure, **wanted):
        """Returns the subjects of a figure, in the order of the lines."""
        return list(dict.fromkeys(line["subject"] for line in self.lines(figure, **wanted)))


def read(paths):
    """Reads the lines of all files. Exits with the file and line number of a malformed line."""
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                    line["figure"], line["at"], line["commit"]
                except (ValueError, KeyError, TypeError) as error:
                    raise SystemExit(f"report: {path}:{number} is not a measurement: {error!r}") from None
                lines.append(line)
    return Measured(lines)


@dataclass
class Median:
    """A median, and the order statistics that enclose the true median with 95 % confidence.

    Fewer than six values allow no such interval, so it is from the least to the greatest value.
    """

    middle: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values):
        # The field is null in lines that did not measure it.
        values = sorted(value for value in values if value is not None)
        if not values:
            return None
        spare = cut(len(values))
        return cls(statistics.median(values), values[spare], values[-1 - spare], len(values))


def cut(count):
    """Returns how many values to cut at each end: 3 of 15, for instance. The same as in `stats.rs`."""
    spare, exactly = 0, 0.5**count
    at_most = exactly
    while at_most + exactly * (count - spare) / (spare + 1) <= 0.025:
        exactly *= (count - spare) / (spare + 1)
        spare += 1
        at_most += exactly
    return spare


@dataclass
class Scenario:
    """A scenario of the fan-out: the measure that it compares, and the floor that it is compared with."""

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
    """Returns a subject's values divided by the floor's of the same turn."""
    turns = measured.lines("fanout", scenario=scenario.name, subject=subject)
    floor = measured.lines("fanout", scenario=scenario.name, subject=scenario.floor)
    return turn_by_turn(turns, floor, measure)


def turn_by_turn(lines, floor, measure):
    """Returns values divided by those of `floor` in the same turn."""
    of = {line["repetition"]: line for line in lines}
    return [
        of[line["repetition"]][measure] / line[measure]
        for line in floor
        if line.get(measure) and of.get(line["repetition"], {}).get(measure) is not None
    ]


def peers_of(peers, scenario):
    """Returns other servers' ratios to the floor of their own runs."""
    floor = peers["floor"].get(scenario.peers, 1)
    return [(server["name"], server[scenario.peers] / floor) for server in peers["servers"]]
