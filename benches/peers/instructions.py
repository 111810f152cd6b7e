"""How many instructions a request takes: noise does not touch that, and it tells who does what."""

import re
import subprocess
import time

from gateways import Running
from load import Sample, Void, h2load
from workload import Contestant, Workload

# Of two numbers of requests on as many connections the difference is counted, so that handshakes
# and what a process does by itself are not in it.
FEWER, MORE = 1_600, 4_800


class Instructions(Workload):
    unit, factor = "instructions per request, kernel apart", 1
    fresh = True
    timed = False

    def __init__(self, protocol: str, options: list[str]):
        self.options = options
        self.name = {"HTTP/1.1": "instructions-http1", "HTTP/2": "instructions-http2"}[protocol]
        self.title = f"13. Instructions of a request, {protocol}, one RS256 token (callgrind)"

    def figure(self, sample):
        return sample.more["instructions"]

    def takes(self, gateway):
        # valgrind does not carry Envoy.
        return gateway.name != "envoy-jwt" and (gateway.speaks_http2 or "--h1" in self.options)

    def rounds(self, options):
        return 1

    def contestants(self, gateways, options):
        everybody = super().contestants(gateways, options)
        return everybody[:1] if options.is_rehearsal else everybody

    def start(self, arena, contestant: Contestant, options) -> Running:
        running = contestant.gateway.start(
            arena,
            under=["valgrind", "--tool=callgrind", "--callgrind-out-file=callgrind"],
        )
        try:
            h2load(arena, running, [*self.options, "-n1000"])
            self.counted(running)
        except BaseException:
            running.stop()
            raise
        return running

    def turn(self, arena, running, options, number):
        counts = []
        for requests in (FEWER, MORE):
            h2load(arena, running, [*self.options, f"-n{requests}"])
            counts.append(self.counted(running))
        each = (counts[1] - counts[0]) / (MORE - FEWER)
        return Sample(MORE - FEWER, more={"instructions": each})

    def counted(self, running: Running) -> int:
        """Instructions since it was asked last."""
        # What ends with a connection ends a little after the client has gone.
        time.sleep(0.3)
        dumps = len(list(running.folder.glob("callgrind.*")))
        subprocess.run(
            ["callgrind_control", "-d", str(running.process.pid)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(100):
            found = sorted(
                running.folder.glob("callgrind.*"), key=lambda path: int(path.suffix[1:])
            )
            if len(found) > dumps:
                total = re.search(r"^totals: (\d+)", found[-1].read_text(), re.MULTILINE)
                if total:
                    return int(total[1])
            time.sleep(0.05)
        raise Void("callgrind has written nothing")
