"""The comparison itself: who takes part, in which order, and what becomes of the samples."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from statistics import median

import conformity
import report
from arena import Arena
from gateways import Gateway, Running, all_gateways, first_line
from load import Sample, Void, h2load, wrk
from usage import SystemCalls
from workload import Contestant, Options, Workload
from workloads import all_workloads


def options(asked: argparse.Namespace) -> Options:
    if asked.quick:
        chosen = Options(1, 1, 500, 500, 50, 16, 2_000, 100, 1_000, is_rehearsal=True)
    else:
        chosen = Options(1, 15, 20_000, 16_000, 400, 24, 8_000, 5_000, 10_000)
    chosen.rounds = asked.rounds or chosen.rounds
    chosen.seconds = asked.seconds or chosen.seconds
    return chosen


def present(gateways: list[Gateway], wanted: list[str] | None) -> list[Gateway]:
    """Those that are here, and asked for."""
    chosen = []
    for gateway in gateways:
        if wanted and gateway.name not in wanted:
            continue
        if gateway.version() is None:
            print(f"left out: {gateway.name} is not installed (--install brings it)")
            continue
        chosen.append(gateway)
    return chosen


def checked(arena: Arena, gateways: list[Gateway]) -> None:
    """Stops if one of them is not what it is taken for."""
    for gateway in gateways:
        running = gateway.start(arena)
        try:
            found = conformity.problems(arena, gateway, running)
        finally:
            running.stop()
        if found:
            sys.exit(f"{gateway.name} is not configured as it should be: " + "; ".join(found))
        print(f"{gateway.name}: {gateway.version()}, answers as it should")


def rounds(arena: Arena, workload: Workload, gateways: list[Gateway], opts: Options) -> dict:
    """A sample by contestant and round; where there was no valid turn, there is none."""
    contestants = workload.contestants(gateways, opts)
    samples = {contestant.title: [] for contestant in contestants}
    running: dict[str, Running] = {}
    number_of_rounds = workload.rounds(opts) if contestants else 0
    try:
        for number in range(number_of_rounds):
            # Shuffled, so that nobody always follows the same one; alike in every run.
            for contestant in Random(number).sample(contestants, len(contestants)):
                sample = turn(arena, workload, contestant, opts, running, number)
                samples[contestant.title].append(sample)
            print(f"  round {number + 1} of {number_of_rounds}", flush=True)
    finally:
        for gateway in running.values():
            gateway.stop()
    return samples


def turn(
    arena: Arena,
    workload: Workload,
    contestant: Contestant,
    opts: Options,
    running: dict[str, Running],
    number: int,
) -> Sample | None:
    """One contestant's turn. If it is void, it is tried once more, with a new process."""
    title = contestant.title
    for attempt in (0, 1):
        try:
            if title not in running:
                running[title] = workload.start(arena, contestant, opts)
            sample = workload.turn(arena, running[title], opts, number + attempt * opts.rounds)
            sample.void = attempt
            if workload.fresh:
                running.pop(title).stop()
            return sample
        except Void as why:
            print(f"  void ({('first', 'last')[attempt]} try): {title}: {why}", file=sys.stderr)
            if title in running:
                running.pop(title).stop()
    return None


def system_calls(arena: Arena, workload: Workload, gateways: list[Gateway], opts: Options) -> dict:
    """System calls per request, in a run of their own."""
    if not workload.traced or opts.is_rehearsal or not shutil.which("strace"):
        return {}
    counted = {}
    for contestant in workload.contestants(gateways, opts):
        running = contestant.gateway.start(arena, **contestant.settings)
        try:
            workload.warm(arena, running, opts)
            with SystemCalls(running.process.pid, running.folder / "strace.out") as calls:
                if workload.name == "http2":
                    sample = h2load(arena, running, ["-c8", "-m16", "-n4000"])
                else:
                    sample = wrk(arena, running, 1, arena.keys["RS256"].token("carol"))
            counted[contestant.title] = calls.count / sample.count
        except Void as why:
            print(f"  void: system calls of {contestant.title}: {why}", file=sys.stderr)
        finally:
            running.stop()
    return counted


def slowest_rate(arena: Arena, gateways: list[Gateway], results: list) -> int:
    """Half of what the slowest peer answered a second on kept connections."""
    known = next((result for result in results if result["workload"].name == "keepalive"), None)
    if known:
        rates = [
            median(s.count / s.seconds for s in report.valid(turns))
            for turns in known["samples"].values()
            if any(turns)
        ]
    else:
        rates = []
        for gateway in gateways:
            running = gateway.start(arena)
            try:
                sample = wrk(arena, running, 2, arena.keys["RS256"].token("alice"))
                rates.append(sample.count / sample.seconds)
            finally:
                running.stop()
    return round(min(rates) / 2)


def machine() -> dict:
    """What these figures are from."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    kernel = subprocess.run(["uname", "-srm"], capture_output=True, text=True).stdout.strip()
    tools = [first_line(["wrk", "-v"]), first_line(["h2load", "--version"])]
    return {
        "cpu": cpu,
        "tools": [" ".join(tool.split()[:2]) for tool in tools if tool],
        "rustc": first_line(["rustc", "--version"]),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": kernel,
        "date": time.strftime("%Y-%m-%d"),
    }


def main(asked: argparse.Namespace, repository: Path, work: Path) -> int:
    workloads = all_workloads()
    binary = (asked.jotgate or repository / "target" / "release" / "jotgate").resolve()
    bare = repository / "target" / "release" / "examples" / "bare"
    gateways = all_gateways(binary, asked.against and asked.against.resolve(), bare)
    if asked.list:
        for thing in (*workloads, *gateways):
            print(f"{thing.name:20} {thing.title}")
        return 0
    unknown = set(asked.only or ()) - {workload.name for workload in workloads}
    unknown |= set(asked.peers or ()) - {gateway.name for gateway in gateways}
    if unknown:
        print(
            f"no such workload or gateway: {', '.join(sorted(unknown))}; see --list",
            file=sys.stderr,
        )
        return 2
    # Each by itself: with the other, what tests need would be in jotgate, too.
    built = [] if asked.jotgate else ["--bin=jotgate"]
    built += ["--example=bare"] if not asked.peers or "bare" in asked.peers else []
    for one in built:
        build = ["cargo", "build", "--release", "--locked", one]
        subprocess.run(build, cwd=repository, check=True)
    gateways = present(gateways, asked.peers)
    opts = options(asked)
    arena = Arena(work, rsa_certificate=asked.rsa)
    results = []
    try:
        checked(arena, gateways)
        for workload in workloads:
            if asked.only and workload.name not in asked.only:
                continue
            print(workload.title, flush=True)
            if workload.name == "latency":
                opts.rate = slowest_rate(arena, gateways, results)
            samples = rounds(arena, workload, gateways, opts)
            if not samples:
                print("  left out: there are too few cores")
            calls = system_calls(arena, workload, gateways, opts)
            results.append({"workload": workload, "samples": samples, "calls": calls})
            write(work, results, gateways, opts)
    finally:
        arena.close()
    print((work / "results.md").read_text())
    print(f"written to {work}: results.md, results.svg, results.json")
    return gaps(results)


def write(work: Path, results: list, gateways: list[Gateway], opts: Options) -> None:
    """Writes what there is so far: a long run that is cut short is not for nothing."""
    versions = {gateway.title: gateway.version() for gateway in gateways}
    facts = machine() | {"rounds": opts.rounds, "seconds": opts.seconds, "rate": opts.rate}
    (work / "results.json").write_text(json.dumps(report.plain(results, versions, facts), indent=1))
    (work / "results.md").write_text(report.markdown(results, versions, facts))
    (work / "results.svg").write_text(report.picture(results))


def gaps(results: list) -> int:
    """Names who has no valid run. A peer's is a finding about the peer; one of jotgate's is a fault."""
    missing = [
        (result["workload"].name, title)
        for result in results
        for title, turns in result["samples"].items()
        if not any(turns)
    ]
    for workload, title in missing:
        print(f"without a valid run: {title} in {workload}", file=sys.stderr)
    return 1 if any(title.startswith("jotgate") for _, title in missing) else 0
