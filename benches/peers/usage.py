"""What the operating system knows of a process."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """CPU time in seconds, of all threads that the process has or had."""

    cpu: float
    # The same as the kernel splits it, in whole ticks.
    user: float
    system: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        # The name is in parentheses and may hold anything; what follows it are numbers.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # What clock_getcpuclockid(3) gives for the process: nanoseconds that it ran.
        clock = ~pid << 3 | 2
        return cls(
            time.clock_gettime_ns(clock) / 1e9, int(fields[11]) / TICKS, int(fields[12]) / TICKS
        )

    def since(self, before: "Usage") -> "Usage":
        return Usage(
            self.cpu - before.cpu, self.user - before.user, self.system - before.system
        )


def machine() -> float:
    """CPU time of everything that runs here, in seconds: what the kernel does for one process in
    the time of another, too."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = (
        int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICKS


def memory(pid: int) -> int:
    """Resident bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024


class SystemCalls:
    """Counts a process's system calls while it is entered. What is counted is slow: time nothing."""

    def __init__(self, pid: int, output: Path):
        self.pid, self.output = pid, output

    def __enter__(self) -> "SystemCalls":
        self.strace = subprocess.Popen(
            ["strace", "-f", "-c", "-p", str(self.pid), "-o", self.output],
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_traced()
        return self

    def _wait_until_traced(self) -> None:
        for _ in range(500):
            status = Path(f"/proc/{self.pid}/status").read_text()
            if "TracerPid:\t0\n" not in status:
                return
            time.sleep(0.01)
        self.strace.kill()
        self.strace.wait()
        sys.exit("strace does not trace: is it allowed to?")

    def __exit__(self, *_) -> None:
        self.strace.terminate()
        self.strace.wait()
        self.count = total_calls(self.output.read_text())


def total_calls(summary: str) -> int:
    """From what `strace -c` writes: the columns are as wide as their heads, and may be empty."""
    heads, *lines = summary.splitlines()
    end = heads.index(" calls") + len(" calls")
    total = next(line for line in lines if line.endswith(" total"))
    return int(total[:end].split()[-1])
