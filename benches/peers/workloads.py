"""The workloads: what is asked of a gateway, how often, and what counts as a failure."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from arena import CHUNK, HERE, Arena, spawn
from gateways import Gateway, Running
from usage import Usage, memory

CLIENTS = HERE / "clients"


class Void(Exception):
    """Something went wrong in a run, so its figures mean nothing."""


@dataclass
class Sample:
    """One run. CPU in seconds, latencies in microseconds, memory in bytes."""

    count: float
    user: float = 0
    system: float = 0
    seconds: float = 0
    memory: int = 0
    more: dict = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """CPU time for each, in seconds."""
        return (self.user + self.system) / self.count


@dataclass
class Options:
    """How much is done."""

    seconds: float
    rounds: int
    tokens: int
    first_sights: int
    handshakes: int
    bodies: int
    messages: int
    idle: int
    routes: int
    # Whether it is only to be seen that everything works: nothing is warmed up or waited for.
    is_rehearsal: bool = False
    # For the workload that is about latency; requests a second.
    rate: int = 0


@dataclass
class Contestant:
    """A gateway in one of its settings."""

    gateway: Gateway
    title: str
    settings: dict = field(default_factory=dict)
    core: set[int] | None = None


class Workload:
    """One thing to do to each of several contestants."""

    name = ""
    title = ""
    # What is divided by, and the unit of the result with its factor.
    unit, factor = "µs of CPU per request", 1e6
    settings: dict = {}
    traced = False

    def figure(self, sample: Sample) -> float:
        """What it is about, in its unit."""
        return sample.cost * self.factor

    def takes(self, gateway: Gateway) -> bool:
        """Whether it makes sense for a gateway."""
        return True

    def contestants(self, gateways: list[Gateway], options: Options) -> list[Contestant]:
        return [Contestant(g, g.title, dict(self.settings)) for g in gateways if self.takes(g)]

    def warm(self, arena: Arena, running: Running, options: Options) -> None:
        """Before anything is measured: connections are opened, caches filled."""

    def load(self, arena: Arena, running: Running, options: Options) -> Sample:
        """The load itself. Raises `Void` when one request went wrong."""
        raise NotImplementedError

    def run(self, arena: Arena, contestant: Contestant, options: Options) -> Sample:
        running = contestant.gateway.start(arena, contestant.core, **contestant.settings)
        try:
            if not options.is_rehearsal:
                self.warm(arena, running, options)
            before = Usage.of(running.process.pid)
            sample = self.load(arena, running, options)
            used = Usage.of(running.process.pid).since(before)
            sample.user, sample.system = used.user, used.system
            sample.memory = memory(running.process.pid)
            sample.more["ready_ms"] = running.ready_after * 1000
            return sample
        finally:
            running.stop()


def client(arena: Arena, command: list, until: str | None = None) -> str:
    """Runs a load generator beside the upstream: to its end, or until it has said something."""
    process = spawn(
        command, arena.load_cores, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if until and until in process.stderr.readline():
        process.send_signal(signal.SIGINT)
    said, errors = process.communicate()
    if process.returncode:
        raise Void(f"{command[0]} ended with {process.returncode}: {errors.strip()[-300:]}")
    return said


def wrk(arena, running, seconds, token="", tokens=None, refused=False, connections=64) -> Sample:
    bearer = ["-H", f"Authorization: Bearer {token}"] if token else []
    said = client(
        arena,
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "-s",
            CLIENTS / "wrk.lua",
            *bearer,
            f"https://127.0.0.1:{running.port}/api/x",
            *(["--", *tokens] if tokens else []),
        ],
        until="no more tokens" if tokens and tokens[1] == "once" else None,
    )
    result = json.loads(said.splitlines()[-1])
    expected = result["requests"] if refused else 0
    if result["broken"] or result["refused"] != expected or not result["requests"]:
        raise Void(f"requests went wrong: {result}")
    latencies = {name: result[name] for name in ("p50", "p99", "p999")}
    return Sample(result["requests"], seconds=result["seconds"], more=latencies)


def h2load(arena, running, options, path="/api/x") -> Sample:
    token = arena.keys["RS256"].token("alice")
    said = client(
        arena,
        [
            "h2load",
            "-H",
            f"Authorization: Bearer {token}",
            *options,
            f"https://127.0.0.1:{running.port}{path}",
        ],
    )
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    if not done or not codes or any(int(n) for n in (*done.groups()[1:], *codes.groups()[1:])):
        raise Void(said[-600:])
    if not int(done[1]):
        raise Void("no request was answered")
    took = re.search(r"finished in ([\d.]+)(us|ms|s)", said)
    seconds = float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[took[2]]
    return Sample(int(done[1]), seconds=seconds)


class KeepAlive(Workload):
    name = "keepalive"
    title = "1. HTTP/1.1 keep-alive, one RS256 token (wrk, 64 connections)"
    traced = True

    def warm(self, arena, running, options):
        wrk(arena, running, 1, arena.keys["RS256"].token("alice"))

    def load(self, arena, running, options):
        return wrk(arena, running, options.seconds, arena.keys["RS256"].token("bob"))


class ManyTokens(Workload):
    name = "tokens"
    title = "2. The same, many different tokens in turn"

    def takes(self, gateway):
        return gateway.checks_tokens

    def warm(self, arena, running, options):
        tokens = arena.tokens("RS256", options.tokens)
        wrk(arena, running, max(1, options.tokens / 5000), tokens=[tokens, "cycle"])

    def load(self, arena, running, options):
        tokens = arena.tokens("RS256", options.tokens)
        return wrk(arena, running, options.seconds, tokens=[tokens, "cycle"])


class FirstSight(Workload):
    def __init__(self, algorithm: str):
        self.algorithm = algorithm
        self.name = f"first-{algorithm.lower()}"
        self.title = f"3. Every token seen for the first time, {algorithm}"

    def takes(self, gateway):
        return gateway.checks_tokens

    def warm(self, arena, running, options):
        wrk(arena, running, 1, arena.keys[self.algorithm].token("alice"))

    def load(self, arena, running, options):
        # As many as there are, not as long as it takes: none may come twice.
        tokens = arena.tokens(self.algorithm, options.first_sights)
        return wrk(arena, running, 60, tokens=[tokens, "once"])


class Http2(Workload):
    name = "http2"
    title = "4. HTTP/2, 8 connections of 16 streams, one RS256 token (h2load)"
    traced = True

    def takes(self, gateway):
        return gateway.speaks_http2

    def warm(self, arena, running, options):
        h2load(arena, running, ["-c8", "-m16", "-n2000"])

    def load(self, arena, running, options):
        # A number of requests rather than a time: h2load cuts off what is under way at the end.
        count = round(12_000 * options.seconds)
        return h2load(arena, running, ["-c8", "-m16", f"-n{count}"])


class Handshakes(Workload):
    unit, factor = "µs of CPU per connection with one request", 1e6

    def __init__(self, kind: str):
        self.kind = kind
        self.name = f"handshake-{kind}"
        self.title = f"5. A {kind} TLS 1.3 handshake for each request"

    def _run(self, arena, running, count):
        token = arena.keys["RS256"].token("alice")
        said = client(
            arena,
            [
                sys.executable,
                CLIENTS / "handshakes.py",
                "127.0.0.1",
                running.port,
                count,
                token,
                self.kind,
            ],
        )
        result = json.loads(said)
        return Sample(result["requests"], seconds=result["seconds"])

    def warm(self, arena, running, options):
        self._run(arena, running, 50)

    def load(self, arena, running, options):
        return self._run(arena, running, options.handshakes)


class Bodies(Workload):
    unit, factor = "ms of CPU per GB", 1e3

    def __init__(self, direction: str):
        self.direction = direction
        self.name = direction
        self.title = f"6. 10 MB bodies {direction}, 8 connections"
        self.settings = {"to": "sink" if direction == "up" else "upstream"}

    def load(self, arena, running, options):
        common = ["--h1", "-c8", f"-n{options.bodies}"]
        if self.direction == "down":
            sample = h2load(arena, running, common, "/api/large")
        else:
            body = arena.folder / "upstream" / "large"
            sample = h2load(arena, running, [*common, "-d", body], "/api/upload")
        return Sample(sample.count * CHUNK / 1e9, seconds=sample.seconds)


class Refused(Workload):
    def __init__(self, what: str):
        self.what = what
        self.name = what
        self.title = f"7. Refused: one {what} token"

    def takes(self, gateway):
        return gateway.checks_tokens

    def load(self, arena, running, options):
        key = arena.keys["RS256"]
        if self.what == "expired":
            token = key.token("mallory", exp=int(time.time()) - 3600)
        else:
            # The head and the claims of one token, the signature of another.
            signed = key.token("mallory").rpartition(".")[0]
            token = signed + "." + key.token("alice").rpartition(".")[2]
        return wrk(arena, running, options.seconds, token, refused=True)


class Latency(Workload):
    name = "latency"
    title = "8. Latency of 64 connections at half the slowest peer's throughput"
    unit = "µs that 99 % of the requests stay below"

    def figure(self, sample):
        return sample.more["p99"]

    def warm(self, arena, running, options):
        wrk(arena, running, 1, arena.keys["RS256"].token("alice"))

    def load(self, arena, running, options):
        # Not beside the keys: jotgate watches that folder, and would wake at each line.
        log = arena.folder / "upstream" / "latency.log"
        log.unlink(missing_ok=True)
        each = max(1, options.rate // 64)
        count = round(each * 64 * options.seconds)
        sample = h2load(
            arena,
            running,
            ["--h1", "-c64", f"--rps={each}", f"-n{count}", f"--log-file={log}"],
        )
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            sample.more[name] = times[min(len(times) - 1, int(len(times) * share))]
        return sample


class Idle(Workload):
    name = "idle"
    title = "9. Idle TLS connections that have had a request"
    unit = "KiB of memory per connection"

    def figure(self, sample):
        return sample.memory / sample.count / 1024

    def run(self, arena, contestant, options):
        running = contestant.gateway.start(arena, contestant.core, **contestant.settings)
        try:
            wrk(arena, running, 1, arena.keys["RS256"].token("alice"), connections=8)
            before = memory(running.process.pid)
            holder = spawn(
                [
                    sys.executable,
                    CLIENTS / "idle.py",
                    "127.0.0.1",
                    running.port,
                    options.idle,
                    arena.keys["RS256"].token("alice"),
                ],
                arena.load_cores,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            if holder.stdout.readline() != "open\n":
                raise Void(holder.communicate()[1])
            # What a gateway gives back it gives back in these seconds.
            time.sleep(0 if options.is_rehearsal else 4)
            held = memory(running.process.pid) - before
            said, errors = holder.communicate()
            if said != "still open\n":
                raise Void(errors)
            return Sample(options.idle, memory=held)
        finally:
            running.stop()


class Routes(KeepAlive):
    name = "routes"
    title = "10. Many routes"
    traced = False

    def contestants(self, gateways, options):
        return [
            Contestant(gateway, f"jotgate, {count:,} routes", {"routes": count})
            for gateway in gateways
            if gateway.name == "jotgate"
            for count in (10, options.routes)
        ]


class Workers(KeepAlive):
    name = "workers"
    title = "11. Workers, each with a core of its own"
    traced = False

    def contestants(self, gateways, options):
        available = sorted(os.sched_getaffinity(0))
        # Load and upstream must be able to keep up: they get as many cores again.
        counts = [count for count in (1, 2, 4, 8) if 2 * count <= len(available)]
        if len(counts) < 2:
            return []
        return [
            Contestant(
                gateway, f"jotgate, {count} workers", {"workers": count}, set(available[:count])
            )
            for gateway in gateways
            if gateway.name == "jotgate"
            for count in counts
        ]


class WebSocket(Workload):
    name = "websocket"
    title = "12. WebSocket messages of 64 bytes there and back, 8 connections"
    unit, factor = "µs of CPU per message there and back", 1e6
    settings = {"to": "echo"}

    def load(self, arena, running, options):
        token = arena.keys["RS256"].token("alice")
        said = client(
            arena,
            [
                sys.executable,
                CLIENTS / "websocket.py",
                "127.0.0.1",
                running.port,
                8,
                options.messages,
                token,
            ],
        )
        result = json.loads(said)
        return Sample(result["requests"], seconds=result["seconds"])


def all_workloads() -> list[Workload]:
    return [
        KeepAlive(),
        ManyTokens(),
        FirstSight("RS256"),
        FirstSight("ES256"),
        Http2(),
        Handshakes("full"),
        Handshakes("resumed"),
        Bodies("down"),
        Bodies("up"),
        Refused("expired"),
        Refused("forged"),
        Latency(),
        Idle(),
        Routes(),
        Workers(),
        WebSocket(),
    ]
