"""What a workload is: contestants, and a load for each of their turns."""

from dataclasses import dataclass, field

from arena import Arena
from gateways import Gateway, Running
from load import Sample
from usage import Usage, machine, memory


@dataclass
class Options:
    """How much is done: so many rounds, and in each one turn for every contestant, of so many
    seconds, or with so many tokens that are new, handshakes, bodies, or messages in all."""

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
    # Whether it is started anew for each turn, since what it has left behind would be seen.
    fresh = False
    # Whether there are times to tell beside the figure.
    timed = True

    def figure(self, sample: Sample) -> float:
        """What it is about, in its unit."""
        return sample.cost * self.factor

    def takes(self, gateway: Gateway) -> bool:
        """Whether it makes sense for a gateway."""
        return True

    def contestants(self, gateways: list[Gateway], options: Options) -> list[Contestant]:
        return [Contestant(g, g.title, dict(self.settings)) for g in gateways if self.takes(g)]

    def rounds(self, options: Options) -> int:
        return options.rounds

    def warm(self, arena: Arena, running: Running, options: Options) -> None:
        """Before anything is measured: connections are opened, caches filled."""

    def load(self, arena: Arena, running: Running, options: Options, turn: int) -> Sample:
        """The load of one turn. Raises `Void` when one request went wrong."""
        raise NotImplementedError

    def start(self, arena: Arena, contestant: Contestant, options: Options) -> Running:
        """Started once, and idle while others have their turns."""
        running = contestant.gateway.start(arena, contestant.core, **contestant.settings)
        try:
            if not options.is_rehearsal:
                self.warm(arena, running, options)
        except BaseException:
            running.stop()
            raise
        return running

    def turn(self, arena: Arena, running: Running, options: Options, number: int) -> Sample:
        """One turn; no other has the same number."""
        before, all_before = Usage.of(running.process.pid), machine()
        sample = self.load(arena, running, options, number)
        used = Usage.of(running.process.pid).since(before)
        sample.cpu, sample.user, sample.system = used.cpu, used.user, used.system
        sample.machine = machine() - all_before
        sample.memory = memory(running.process.pid)
        return sample
