"""The results: for a reader (Markdown), for the eye (SVG), for a program (JSON)."""

from dataclasses import asdict
from html import escape
from statistics import median, quantiles

US = "jotgate, everything on"


def valid(turns) -> list:
    return [sample for sample in turns if sample]


def quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def figure(value: float, digits: int | None = None) -> str:
    if digits is None:
        digits = 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def spread(values: list[float], digits: int | None = None) -> str:
    if len(values) == 1:
        return figure(values[0], digits)
    low, high = (figure(quartile, digits) for quartile in quartiles(values))
    return f"{figure(median(values), digits)} ({low}–{high})"


def middle(samples, of) -> float:
    return median(of(sample) for sample in samples)


def ratios(workload, turns, others) -> list[float]:
    """Each to the other of the same round, when the machine was the same for both."""
    return [
        workload.figure(one) / workload.figure(other)
        for one, other in zip(turns, others)
        if one and other
    ]


def markdown(results, versions, facts) -> str:
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}, {facts['date']}. "
        f"{facts['rounds']} rounds, in which each has a turn: of {facts['seconds']:g} s in rows 1, "
        "2, 7 and 10, twice as long for latency, and elsewhere of a number of requests; the "
        "gateways on one core, load and upstream on the rest. Median (quartiles); the ratios are "
        "those within a round. A turn that was void was tried once more; how many were, is told.",
        "",
        *(f"- {title}: {version}" for title, version in versions.items()),
        f"- load: {', '.join(facts['tools'])}; jotgate and the libraries alone are built by "
        f"{facts['rustc']}",
        "",
    ]
    for result in results:
        if result["samples"]:
            lines += table(result, facts)
    return "\n".join(lines)


def table(result, facts) -> list[str]:
    workload, samples = result["workload"], result["samples"]
    ours, first = samples.get(US), next(iter(samples.values()))
    title = workload.title
    if workload.name == "latency":
        title += f" ({facts['rate']:,} requests a second)"
    columns = columns_of(workload, samples, result["calls"])
    head = ["", workload.unit, "jotgate is" if ours else "× the first", *columns]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, turns in samples.items():
        runs = valid(turns)
        if not runs:
            lines.append(f"| {name} | no valid turn |" + " |" * (len(head) - 2))
            continue
        if ours:
            paired = ratios(workload, ours, turns) if turns is not ours else []
        else:
            paired = ratios(workload, turns, first) if turns is not first else []
        void = sum(sample.void if sample else 2 for sample in turns)
        cells = [
            f"{name} ({void} void)" if void else name,
            spread([workload.figure(sample) for sample in runs]),
            spread(paired, 2) if paired else "",
        ]
        cells += [of(name, runs) for of in columns.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def split(workload, runs) -> str:
    """The figure by user and system, in whose ratio the ticks of all turns fall."""
    user, system = (sum(getattr(s, kind) for s in runs) for kind in ("user", "system"))
    figure = middle(runs, lambda s: s.cost) * workload.factor
    share = user / (user + system) if user + system else 0
    return f"{figure * share:.1f} + {figure * (1 - share):.1f}"


def columns_of(workload, samples, calls) -> dict:
    """What else is worth telling, by the column's title."""
    if not workload.timed:
        return {}
    columns = {
        "user + system": lambda _, runs: split(workload, runs),
        "a second": lambda _, runs: (
            f"{middle(runs, lambda s: s.count / s.seconds):,.1f}"
            if workload.unit.endswith("GB")
            else f"{middle(runs, lambda s: s.count / s.seconds):,.0f}"
        ),
    }
    if workload.name in ("down", "up"):
        columns["whole machine"] = lambda _, runs: (
            f"{middle(runs, lambda s: s.machine / s.count) * workload.factor:,.0f}"
        )
    for name, title in (("p50", "p50 µs"), ("p99", "p99 µs"), ("p999", "p99.9 µs")):
        if all(name in sample.more for turns in samples.values() for sample in valid(turns)):
            columns[title] = lambda _, runs, name=name: (
                f"{middle(runs, lambda s: s.more[name]):,.0f}"
            )
    columns["memory MiB"] = lambda _, runs: f"{middle(runs, lambda s: s.memory) / 2**20:.0f}"
    if calls:
        columns["system calls"] = lambda name, _: f"{calls[name]:.1f}" if name in calls else ""
    if workload.name == "routes":
        columns["ready after ms"] = lambda _, runs: (
            f"{middle(runs, lambda s: s.more['ready_ms']):.0f}"
        )
    return columns


def plain(results, versions, facts) -> dict:
    return {
        "facts": facts,
        "versions": versions,
        "workloads": [
            {
                "name": result["workload"].name,
                "title": result["workload"].title,
                "unit": result["workload"].unit,
                "samples": {
                    title: [
                        asdict(sample) | {"figure": result["workload"].figure(sample)}
                        if sample
                        else None
                        for sample in turns
                    ]
                    for title, turns in result["samples"].items()
                },
                "system_calls": result["calls"],
            }
            for result in results
        ],
    }


BAR, GAP, LABELS, WIDTH = 18, 4, 230, 860
OURS, THEIRS, INK = "#b5482a", "#9db0bd", "#24292f"


def picture(results) -> str:
    """Bars for each workload, the shortest the best; each workload has a scale of its own."""
    parts, top = [], 10
    for result in results:
        workload = result["workload"]
        bars = {
            name: [workload.figure(sample) for sample in valid(turns)]
            for name, turns in result["samples"].items()
            if any(turns)
        }
        if not bars:
            continue
        longest = max(quartiles(values)[1] for values in bars.values())
        scale = (WIDTH - LABELS - 90) / longest if longest > 0 else 0
        parts.append(text(10, top + 14, f"{workload.title} — {workload.unit}", weight="bold"))
        top += 24
        for name, values in bars.items():
            parts += bar(name, values, top, scale)
            top += BAR + GAP
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{top}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def bar(name: str, values: list[float], top: float, scale: float) -> list[str]:
    """The median, with a line from quartile to quartile."""
    color = OURS if name.startswith("jotgate") else THEIRS
    length, middle_line = max(1, median(values) * scale), top + BAR / 2
    low, high = (quartile * scale + LABELS for quartile in quartiles(values))
    return [
        text(LABELS - 8, top + 13, name.replace("`", ""), anchor="end"),
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{color}"/>',
        f'<path d="M{low:.1f} {middle_line}H{high:.1f}" stroke="{INK}" stroke-width="1.5"/>',
        text(max(high, LABELS + length) + 6, top + 13, figure(median(values))),
    ]


def text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )
