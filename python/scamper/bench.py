"""Figures of the module, a name and a value a line: `make bench-scamper` holds them against their bounds.

    python bench.py read FILE              # pings of a warts file as objects
    python bench.py ask SOCKET [ROUNDS]    # pings of this host through a mux whose site's limits are lifted
"""

import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta

from scamper import ScamperCtrl, ScamperFile, ScamperInst, ScamperPing

TARGET = "127.0.0.1"
#: Of a round: pings that are waited for one by one, and those that are asked for at once.
SYNCHRONOUS = 1_000
AT_ONCE = 10_000


def figure(name: str, value: float) -> None:
    print(f"{name} {value}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def middle(samples: list[float], share: float = 0.5) -> float:
    return sorted(samples)[min(int(len(samples) * share), len(samples) - 1)]


def read(path: str) -> None:
    """Pings a second as objects; as objects that are asked what a script asks for; and copies of their octets, by Python."""

    def pings() -> ScamperFile:
        return ScamperFile(path, filter_types=[ScamperPing])

    def asked() -> int:
        answered = 0
        for ping in pings():
            reply = ping.reply(0)
            answered += ping.dst is not None and ping.min_rtt is not None and reply is not None and reply.rtt is not None
        return answered

    def copied() -> None:
        with tempfile.TemporaryFile() as copy:
            copy.write(pathlib.Path(path).read_bytes())

    records = sum(1 for _ in pings())
    figure("records", records)
    figure("answered", asked())
    figure("objects", records / middle([seconds(lambda: sum(1 for _ in pings())) for _ in range(3)]))
    figure("asked", records / middle([seconds(asked) for _ in range(3)]))
    figure("copied", records / middle([seconds(copied) for _ in range(3)]))


def one(ctrl: ScamperCtrl[None], inst: ScamperInst) -> float:
    """How long a ping of one reply takes that is waited for, in seconds."""
    began = time.perf_counter()
    ping = ctrl.do_ping(TARGET, attempts=1, stop_count=1, inst=inst, sync=True)
    took = time.perf_counter() - began
    assert isinstance(ping, ScamperPing) and ping.min_rtt is not None, "a ping without a reply"
    return took


def many(ctrl: ScamperCtrl[None], inst: ScamperInst) -> tuple[float, int]:
    """From the first call to the last result of very many pings, in seconds, and how many had a reply."""
    began = time.perf_counter()
    for _ in range(AT_ONCE):
        ctrl.do_ping(TARGET, attempts=1, stop_count=1, inst=inst)
    pings = list(ctrl.responses(timeout=timedelta(seconds=60)))
    took = time.perf_counter() - began
    return took, sum(1 for ping in pings if ping.min_rtt is not None)


def ask(socket: str, rounds: int) -> None:
    ctrl: ScamperCtrl[None] = ScamperCtrl(mux=socket)
    (inst,) = ctrl.add_vps(ctrl.vps())
    for _ in range(200):
        one(ctrl, inst)
    singles = [one(ctrl, inst) for _ in range(rounds * SYNCHRONOUS)]
    figure("one_p50", middle(singles))
    figure("one_p99", middle(singles, 0.99))
    floods = [many(ctrl, inst) for _ in range(rounds)]
    figure("many", middle([took for took, _ in floods]))
    figure("many_worst", max(took for took, _ in floods))
    figure("many_answered", min(answered for _, answered in floods))

    def four() -> None:
        ping = ctrl.do_ping(TARGET, attempts=4, wait_probe=1, inst=inst, sync=True)
        assert isinstance(ping, ScamperPing)
        figure("four_answered", ping.nreplies or 0)

    figure("four", seconds(four))


def main(arguments: list[str]) -> int:
    # Whatever hangs ends.
    signal.alarm(180)
    match arguments:
        case ["read", path]:
            read(path)
        case ["ask", socket]:
            ask(socket, 5)
        case ["ask", socket, rounds]:
            ask(socket, int(rounds))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
