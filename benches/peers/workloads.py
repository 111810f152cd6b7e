"""The workloads: what is asked of a gateway, and how often."""

import json
import os
import subprocess
import sys
import time
from statistics import median

from arena import CHUNK, spawn, worker_counts
from instructions import Instructions
from load import CLIENTS, Sample, Void, client, h2load, wrk
from usage import memory
from workload import Contestant, Workload


class KeepAlive(Workload):
    name = "keepalive"
    title = "1. HTTP/1.1 keep-alive, one RS256 token (wrk, 64 connections)"
    traced = True

    def warm(self, arena, running, options):
        wrk(arena, running, 1, arena.keys["RS256"].token("alice"))

    def load(self, arena, running, options, turn):
        return wrk(arena, running, options.seconds, arena.keys["RS256"].token("bob"))


class ManyTokens(Workload):
    name = "tokens"
    title = "2. The same, many different tokens in turn"
    # Room for all of them, with a gateway that has less of its own accord.
    settings = {"cached_tokens": 32_768}

    def takes(self, gateway):
        return gateway.checks_tokens

    def warm(self, arena, running, options):
        tokens = arena.tokens("RS256", options.tokens)
        wrk(arena, running, max(1, options.tokens / 5000), script=[tokens, "cycle"])

    def load(self, arena, running, options, turn):
        tokens = arena.tokens("RS256", options.tokens)
        return wrk(arena, running, options.seconds, script=[tokens, "cycle"])


class FirstSight(Workload):
    def __init__(self, algorithm: str):
        self.algorithm = algorithm
        self.name = f"first-{algorithm.lower()}"
        self.title = f"3. Every token seen for the first time, {algorithm}"

    def takes(self, gateway):
        return gateway.checks_tokens

    def warm(self, arena, running, options):
        for turn in range(options.rounds):
            arena.tokens(self.algorithm, options.first_sights, turn)
        wrk(arena, running, 1, arena.keys[self.algorithm].token("alice"))

    def load(self, arena, running, options, turn):
        # Each turn has tokens of its own, the same for everybody.
        count = options.first_sights
        tokens = arena.tokens(self.algorithm, count, turn)
        return wrk(arena, running, 60, script=[tokens, "once"])


class Http2(Workload):
    name = "http2"
    title = "4. HTTP/2, 8 connections of 16 streams, one RS256 token (h2load)"
    traced = True

    def takes(self, gateway):
        return gateway.speaks_http2

    def warm(self, arena, running, options):
        h2load(arena, running, ["-c8", "-m16", "-n2000"])

    def load(self, arena, running, options, turn):
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

    def load(self, arena, running, options, turn):
        return self._run(arena, running, options.handshakes)


class Bodies(Workload):
    unit, factor = "ms of CPU per GB", 1e3

    def __init__(self, direction: str):
        self.direction = direction
        self.name = direction
        self.title = f"6. 10 MB bodies {direction}, 8 connections"
        self.settings = {"to": "sink" if direction == "up" else "upstream"}

    def load(self, arena, running, options, turn):
        common = ["--h1", "-c8", f"-n{options.bodies}"]
        if self.direction == "down":
            sample = h2load(arena, running, common, "/api/large")
        else:
            body = arena.folder / "upstream" / "large"
            sample = h2load(arena, running, [*common, "-d", body], "/api/upload")
        return Sample(sample.count * CHUNK / 1e9, seconds=sample.seconds)


class Expired(Workload):
    name = "expired"
    title = "7. Refused: one expired token"

    def takes(self, gateway):
        return gateway.checks_tokens

    def load(self, arena, running, options, turn):
        token = arena.keys["RS256"].token("mallory", exp=int(time.time()) - 3600)
        return wrk(arena, running, options.seconds, token, refused=True)


class Forged(Workload):
    name = "forged"
    title = "7. Refused: forged tokens, a thousand in turn"

    def takes(self, gateway):
        return gateway.checks_tokens

    def load(self, arena, running, options, turn):
        # What each says, with the signature of another. More than a gateway may remember: what
        # counts is that it looks at the signature.
        key = arena.keys["RS256"]
        said = (key.token(f"mallory{number}").rpartition(".")[0] for number in range(1000))
        signature = key.token("alice").rpartition(".")[2]
        tokens = arena.folder / "forged.txt"
        if not tokens.exists():
            tokens.write_text("".join(f"{head}.{signature}\n" for head in said))
        return wrk(
            arena, running, options.seconds, script=[tokens, "cycle"], refused=True
        )


# Microseconds at the beginning of a turn that are not looked at where latency is: the first of a
# client's requests wait for the handshakes of the others, and would be the slowest hundredth.
OPENING = 300_000


class Latency(Workload):
    name = "latency"
    title = "8. Latency of 64 connections at half the slowest peer's throughput"
    unit = "µs that 99 % of the requests stay below"

    def figure(self, sample):
        return sample.more["p99"]

    def warm(self, arena, running, options):
        wrk(arena, running, 1, arena.keys["RS256"].token("alice"))

    def load(self, arena, running, options, turn):
        # Not beside the keys: jotgate watches that folder, and would wake at each line.
        log = arena.folder / "upstream" / "latency.log"
        log.unlink(missing_ok=True)
        each = max(1, options.rate // 64)
        # Twice as long as other turns: what comes after the opening should be as long at least.
        count = round(each * 64 * 2 * options.seconds)
        sample = h2load(
            arena,
            running,
            [
                *("--h1", "-c64", f"--rps={each}", f"-n{count}", f"--log-file={log}"),
                # A client's clock starts when it is connected. One each millisecond, so that they
                # ask in turn, and not all the closer together the faster handshakes are.
                *("-r1", "--rate-period=1ms"),
            ],
        )
        rows = [line.split("\t") for line in log.read_text().splitlines()]
        requests = [(int(row[0]), int(row[2])) for row in rows]
        opened = min(start for start, _ in requests) + OPENING
        times = sorted(took for start, took in requests if start >= opened)
        if not times:
            raise Void("the turn was over before all clients were connected")
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            sample.more[name] = times[min(len(times) - 1, int(len(times) * share))]
        return sample


class Idle(Workload):
    name = "idle"
    title = "9. Idle TLS connections that have had a request"
    unit = "KiB of memory per connection"
    fresh = True
    timed = False

    def figure(self, sample):
        return sample.memory / sample.count / 1024

    def rounds(self, options):
        return min(3, options.rounds)

    def turn(self, arena, running, options, number):
        token = arena.keys["RS256"].token("alice")
        wrk(arena, running, 1, token, connections=8)
        before = memory(running.process.pid)
        client = [CLIENTS / "idle.py", "127.0.0.1", running.port, options.idle, token]
        holder = spawn(
            [sys.executable, *client],
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


class Routes(KeepAlive):
    name = "routes"
    title = "10. Many routes, each asked for in turn"
    traced = False

    def contestants(self, gateways, options):
        return [
            Contestant(gateway, f"{called}, {count:,} routes", {"routes": count})
            for gateway in gateways
            if (called := gateway.title.split(",")[0]).endswith("jotgate")
            for count in (10, options.routes)
        ]

    def warm(self, arena, running, options):
        self._ask(arena, running, 1)

    def load(self, arena, running, options, turn):
        return self._ask(arena, running, options.seconds)

    def _ask(self, arena, running, seconds):
        token = arena.keys["RS256"].token("bob")
        script = ["paths", running.settings["routes"]]
        return wrk(arena, running, seconds, token, script=script)

    def start(self, arena, contestant, options):
        """Several times: from the command to a port that answers is part of what is compared."""
        times = []
        for _ in range(0 if options.is_rehearsal else 6):
            running = contestant.gateway.start(arena, **contestant.settings)
            running.stop()
            times.append(running.ready_after)
        running = super().start(arena, contestant, options)
        running.ready_after = median([*times, running.ready_after])
        return running

    def turn(self, arena, running, options, number):
        sample = super().turn(arena, running, options, number)
        sample.more["ready_ms"] = running.ready_after * 1000
        return sample


class Workers(KeepAlive):
    name = "workers"
    title = "11. Workers, each with a core of its own"
    traced = False

    def contestants(self, gateways, options):
        counts = worker_counts()
        if len(counts) < 2:
            return []
        available = sorted(os.sched_getaffinity(0))
        return [
            Contestant(
                gateway, f"jotgate, workers: {count}", {"workers": count}, set(available[:count])
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

    def takes(self, gateway):
        return gateway.upgrades

    def load(self, arena, running, options, turn):
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
        Expired(),
        Forged(),
        Latency(),
        Idle(),
        Routes(),
        Workers(),
        WebSocket(),
        Instructions("HTTP/1.1", ["--h1", "-c16"]),
        Instructions("HTTP/2", ["-c8", "-m16"]),
    ]
