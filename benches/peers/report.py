"""The results: for a reader (Markdown), for the eye (SVG), for a program (JSON)."""

from dataclasses import asdict
from html import escape
from statistics import median

US = "jotgate, everything on"


def spread(values: list[float]) -> str:
    low, high = min(values), max(values)
    digits = 1 if median(values) < 100 else 0
    return f"{median(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def middle(samples, of) -> float:
    return median(of(sample) for sample in samples)


def markdown(results, versions, facts) -> str:
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}, {facts['date']}. "
        f"{facts['rounds']} interleaved rounds; the gateway on one core, load and upstream on the "
        "rest. Median (lowest–highest).",
        "",
        *(f"- {title}: {version}" for title, version in versions.items()),
        "",
    ]
    for result in results:
        if result["samples"]:
            lines += table(result, facts)
    return "\n".join(lines)


def table(result, facts) -> list[str]:
    workload, samples = result["workload"], result["samples"]
    ours = samples.get(US) or next(iter(samples.values()))
    base = middle(ours, lambda s: workload.figure(s)) if ours else None
    title = workload.title
    if workload.name == "latency":
        title += f" ({facts['rate']:,} requests a second)"
    columns = columns_of(workload, samples, result["calls"])
    head = ["", workload.unit, "jotgate is", *columns]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, runs in samples.items():
        if not runs:
            lines.append(f"| {name} | no valid run |" + " |" * (len(head) - 2))
            continue
        figures = [workload.figure(sample) for sample in runs]
        ratio = f"{base / median(figures):.2f} ×" if base and runs is not ours else ""
        cells = [name, spread(figures), ratio]
        cells += [of(name, runs) for of in columns.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def columns_of(workload, samples, calls) -> dict:
    """What else is worth telling, by the column's title."""
    if workload.name == "idle":
        return {}
    columns = {
        "user + system": lambda _, runs: (
            f"{middle(runs, lambda s: s.user / s.count * workload.factor):.1f} + "
            f"{middle(runs, lambda s: s.system / s.count * workload.factor):.1f}"
        ),
        "a second": lambda _, runs: (
            f"{middle(runs, lambda s: s.count / s.seconds):,.1f}"
            if workload.unit.endswith("GB")
            else f"{middle(runs, lambda s: s.count / s.seconds):,.0f}"
        ),
    }
    for name, title in (("p50", "p50 µs"), ("p99", "p99 µs"), ("p999", "p99.9 µs")):
        if all(name in sample.more for runs in samples.values() for sample in runs):
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
                        for sample in runs
                    ]
                    for title, runs in result["samples"].items()
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
            name: [workload.figure(sample) for sample in runs]
            for name, runs in result["samples"].items()
            if runs
        }
        if not bars:
            continue
        longest = max(max(values) for values in bars.values())
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
    color = OURS if name.startswith("jotgate") else THEIRS
    length, middle_line = max(1, median(values) * scale), top + BAR / 2
    low, high = min(values) * scale + LABELS, max(values) * scale + LABELS
    return [
        text(LABELS - 8, top + 13, name.replace("`", ""), anchor="end"),
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{color}"/>',
        f'<path d="M{low:.1f} {middle_line}H{high:.1f}" stroke="{INK}" stroke-width="1.5"/>',
        text(max(high, LABELS + length) + 6, top + 13, f"{median(values):.1f}"),
    ]


def text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )
