"""The load generators: what they are asked, what they say, and what counts as a failure."""

import json
import re
import signal
import subprocess
from dataclasses import dataclass, field

from arena import HERE, Arena, spawn
from gateways import Running

CLIENTS = HERE / "clients"


class Void(Exception):
    """Something went wrong in a turn, so its figures mean nothing."""


@dataclass
class Sample:
    """One turn. Times in seconds, latencies in microseconds, memory in bytes."""

    count: float
    # CPU time, to the nanosecond; and how it falls into user and system, in ticks of the system's.
    cpu: float = 0
    user: float = 0
    system: float = 0
    # The whole machine's, load and upstream included, in the same ticks.
    machine: float = 0
    seconds: float = 0
    memory: int = 0
    # Tries before it that went wrong.
    void: int = 0
    more: dict = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """CPU time for each."""
        return self.cpu / self.count


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


def wrk(
    arena: Arena,
    running: Running,
    seconds: float,
    token: str = "",
    script: list | None = None,
    refused: bool = False,
    connections: int = 64,
) -> Sample:
    """`script` are the arguments of clients/wrk.lua. `refused`: none may be let through."""
    bearer = ["-H", f"Authorization: Bearer {token}"] if token else []
    # Each thread would go through a script's tokens by itself.
    threads = 1 if script else arena.load_threads
    said = client(
        arena,
        [
            "wrk",
            f"-t{threads}",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "-s",
            CLIENTS / "wrk.lua",
            *bearer,
            f"https://127.0.0.1:{running.port}/api/x",
            *(["--", *script] if script else []),
        ],
        until="no more tokens" if script and script[1] == "once" else None,
    )
    result = json.loads(said.splitlines()[-1])
    expected = result["requests"] if refused else 0
    if result["broken"] or result["refused"] != expected or not result["requests"]:
        raise Void(f"requests went wrong: {result}")
    latencies = {name: result[name] for name in ("p50", "p99", "p999")}
    return Sample(result["requests"], seconds=result["seconds"], more=latencies)


def h2load(arena: Arena, running: Running, options: list, path: str = "/api/x") -> Sample:
    """HTTP/2, or HTTP/1.1 with `--h1`."""
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
