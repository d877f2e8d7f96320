"""Measurements under way: results are iterated as they arrive."""

from __future__ import annotations

from itertools import islice
from typing import Generic, TypeVar

from ._errors import Error, UsageError, WaitTimeout
from ._native import Field
from ._results import Piece, Result, Results

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ._native import Connection, Stream
    from ._network import Network
    from ._vps import VantagePoint

R = TypeVar("R", bound=Result)

# As many inputs are taken from an iterable at a time.
CHUNK = 1024


class Ledger(Piece):
    """The account of a measurement's tasks: `accepted = ok + failed + refused + lost + cancelled + pending`."""

    __slots__ = ()

    accepted: int = Field("accepted")  # type: ignore[assignment]
    """All tasks."""
    ok: int = Field("ok")  # type: ignore[assignment]
    """Performed as asked, whatever the network answered."""
    failed: int = Field("failed")  # type: ignore[assignment]
    """Could not be performed."""
    refused: int = Field("refused")  # type: ignore[assignment]
    """Declined by policy, limits or parameters."""
    lost: int = Field("lost")  # type: ignore[assignment]
    """Nothing came back by the deadline."""
    cancelled: int = Field("cancelled")  # type: ignore[assignment]
    """Called off."""
    pending: int = Field("pending")  # type: ignore[assignment]
    """Not ended yet."""
    answered: int = Field("answered")  # type: ignore[assignment]
    """Of the ok tasks, those that the network answered."""
    superseded: int = Field("superseded", default=0)  # type: ignore[assignment]
    """Final records that came after their task had ended, and were dropped."""
    reasons: dict[str, dict[str, int]] = Field("reasons")  # type: ignore[assignment]
    """Why tasks ended other than *ok*: outcome, code of the reason, count."""


class Started:
    """What is known of a measurement from its beginning."""

    _connection: Connection
    _net: Any
    _about: dict[str, Any]
    _stream: Stream

    @property
    def id(self) -> str:
        """Its id, by which it can be taken up again: `net.measurement(id)`."""
        return str(self._about["id"])

    @property
    def kind(self) -> str:
        """What is measured."""
        return str(self._about["kind"])

    @property
    def label(self) -> str | None:
        """The word that it was given."""
        return self._about.get("label")

    @property
    def selection(self) -> str:
        """From where, as a selection."""
        return str(self._about["from"])

    @property
    def done(self) -> bool:
        """Whether all of its results are in, read or not."""
        return self._stream.ledger is not None


class Measurement(Started, Generic[R]):
    """Tasks that were issued, and their results as they arrive.

    Each task yields exactly one final result, also when it failed, was refused, lost or cancelled: look at `ok`, or call
    `check()`. The loop ends when all have. It survives an anchor's restart: it goes on after the last result that it had.

        m = net.ping(["192.0.2.1", "192.0.2.2"], vps="germany")
        for r in m:
            print(r.vp, r.target, r.rtt_min_ns)

    A loop that is left by `break` goes on in the next one. `with net.ping(…) as m:` calls it off when the block ends early.
    """

    _net: Network

    def __init__(self, net: Network, about: dict[str, Any], stream: Stream, make: Callable[[bytes, Any], R]) -> None:
        self._net = net
        self._connection = net._connection
        self._about = about
        self._stream = stream
        self._make = make
        self._batch: Iterator[R] = iter(())
        net._planned(about)

    def __len__(self) -> int:
        """How many tasks it has."""
        return int(self._about["ledger"]["accepted"])

    def __bool__(self) -> bool:
        return True

    @property
    def vps(self) -> list[VantagePoint]:
        """From where, as chosen."""
        names = {vp["vp"]: vp["name"] for vp in self._about.get("plan", {}).get("vps", ())}
        return [self._net._vp(id, names.get(id)) for id in self._about["vps"]]

    @property
    def ledger(self) -> Ledger:
        """The account of its tasks, as it is now."""
        known = self._stream.ledger
        if known is None:
            known = self._connection.ledger(self.id).wait()
        return Ledger(known)

    def __iter__(self) -> Iterator[R]:
        return self._results(None)

    def _results(self, timeout: float | None) -> Iterator[R]:
        end = None if timeout is None else _now() + timeout
        while True:
            yield from self._batch
            left = None if end is None else max(0.0, end - _now())
            batch = self._stream.take(self._make, self._net, left)
            if batch is None:
                return
            if not batch:
                raise self._late(timeout)
            self._batch = iter(batch)

    def within(self, timeout: float) -> Iterator[R]:
        """Iterates for as many seconds at most, then raises `WaitTimeout`. What is still to come can be iterated later."""
        return self._results(timeout)

    def results(self, timeout: float | None = None) -> Results[R]:
        """Waits for all results and gives those that were not read yet, in the order in which they arrived.

        With a `timeout` in seconds it raises `WaitTimeout` when they are not all in by then; those that came are its
        attribute `results`.
        """
        collected: Results[R] = Results()
        try:
            for result in self._results(timeout):
                collected.append(result)
        except WaitTimeout as late:
            late.results = collected
            raise
        return collected

    def _late(self, timeout: float | None) -> WaitTimeout:
        text = f"not all results of {self.kind} {self.id} were in after {timeout:g} s: {self.ledger.pending} tasks are pending"
        return WaitTimeout(text)

    def cancel(self) -> None:
        """Calls it off. Tasks that have not ended come as results whose outcome is *cancelled*."""
        self._connection.cancel(self.id).wait()

    def close(self) -> None:
        """Reads no more. The measurement goes on, and its results are kept."""
        self._stream.close()

    def __enter__(self) -> Measurement[R]:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if not self.done:
                self.cancel()
        except Error:
            # What went wrong in the block is what its author wants to hear of.
            if error is None:
                raise
        finally:
            self.close()

    def _results_for(self, library: str) -> Results[R]:
        """All results; none is read where the library is missing that a table is made by."""
        from ._frames import wanted

        wanted(library)
        return self.results()

    def to_arrow(self) -> Any:
        """All results as a table of pyarrow."""
        return self._results_for("pyarrow").to_arrow()

    def to_pandas(self) -> Any:
        """All results as a frame of pandas."""
        return self._results_for("pandas").to_pandas()

    def to_polars(self) -> Any:
        """All results as a frame of polars."""
        return self._results_for("polars").to_polars()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind} {self.id}: {len(self)} tasks{', done' if self.done else ''}>"


class Feed(Measurement[R]):
    """An open measurement, which takes targets for as long as there are any. Each is measured from each vantage point.

        with net.open("ping", vps="germany", count=1) as feed:
            for r in feed.run(line.strip() for line in open("targets.txt")):
                print(r.target, r.rtt_min_ns)

    Neither targets nor results pile up: targets are taken from the iterable as the network takes them, and results that
    nobody reads wait at the anchor.
    """

    def __init__(self, net: Network, about: dict[str, Any], stream: Stream, make: Callable[[bytes, Any], R]) -> None:
        super().__init__(net, about, stream, make)
        self._given = 0

    def __len__(self) -> int:
        return self._given * max(1, len(self._about["vps"]))

    @property
    def given(self) -> int:
        """How many targets it was given."""
        return self._given

    @property
    def room(self) -> int:
        """How many targets can be given at once without waiting."""
        return self._stream.room

    def put(self, target: str, timeout: float | None = None) -> None:
        """Gives a target. It waits while the network takes none, as many seconds at most."""
        self._give([target], timeout)

    def extend(self, targets: Iterable[str], timeout: float | None = None) -> None:
        """Gives targets. It waits while the network takes none, as many seconds at most for each thousand."""
        source = iter(targets)
        while chunk := list(islice(source, CHUNK)):
            self._give(chunk, timeout)

    def _give(self, targets: list[str], timeout: float | None) -> None:
        while True:
            taken = self._stream.give(targets)
            self._given += taken
            targets = targets[taken:]
            if not targets:
                return
            if not self._stream.wait_room(timeout):
                raise WaitTimeout(f"the network took no more targets for {timeout:g} s")

    def finish(self) -> None:
        """Says that no more targets will be given: iteration then ends with the last result."""
        self._stream.finish()

    def run(self, targets: Iterable[str], *, window: int | None = None) -> Iterator[R]:
        """Gives the targets and yields the results as they arrive; ends with the last one.

        `window` says how many tasks may be under way at a time; without it, as many as the network takes.
        """
        if window is not None and window < 1:
            raise UsageError("a window holds one task at least")
        source, chunk, more, under_way = iter(targets), list[str](), True, 0
        each = max(1, len(self._about["vps"]))
        while True:
            while more:
                free = CHUNK if window is None else (window - under_way + each - 1) // each
                if free <= 0:
                    break
                chunk = chunk or list(islice(source, min(free, CHUNK)))
                if not chunk:
                    more = False
                    self.finish()
                    break
                taken = self._stream.give(chunk)
                self._given += taken
                under_way += taken * each
                chunk = chunk[taken:]
                if chunk:
                    break
            batch = self._stream.take(self._make, self._net, None, room=bool(chunk))
            if batch is None:
                return
            under_way -= len(batch)
            yield from batch

    def __enter__(self) -> Feed[R]:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.finish()
        super().__exit__(kind, error, trace)


def _now() -> float:
    from time import monotonic

    return monotonic()
