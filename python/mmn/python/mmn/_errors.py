"""What can go wrong. Each exception says what happened, and where it can, what to do about it.

    Error
    ├── UsageError (also ValueError)      what was asked makes no sense
    ├── ConnectionLost (also ConnectionError)
    │   └── NotRunning                    no `mmn up` on this machine
    ├── ForkError                         a connection is used in a child of its process
    ├── ApiError                          the anchor declines the request: `reason`, `detail`, `hint`, `errors`
    ├── WaitTimeout (also TimeoutError)   nothing came for as long as the caller was ready to wait
    └── MeasurementError                  a task did not end as *ok*: `result`, `vp`, `reason`, `code`
        ├── MeasurementFailed, MeasurementRefused, MeasurementLost, MeasurementCancelled
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._results import Reason, Result, Results
    from ._vps import VantagePoint

__all__ = [
    "ApiError",
    "ConnectionLost",
    "Error",
    "ForkError",
    "MeasurementCancelled",
    "MeasurementError",
    "MeasurementFailed",
    "MeasurementLost",
    "MeasurementRefused",
    "NotRunning",
    "UsageError",
    "WaitTimeout",
]


class Error(Exception):
    """Anything that goes wrong in mmn."""


class UsageError(Error, ValueError):
    """What was asked makes no sense; nothing was sent."""


class ConnectionLost(Error, ConnectionError):
    """The anchor can't be reached, or the connection broke and could not be had again for half a minute."""


class NotRunning(ConnectionLost):
    """No `mmn up` runs on this machine, and no URL was given."""


class ForkError(Error):
    """A connection is used in a child of the process that made it. Call `connect` in the child."""


class WaitTimeout(Error, TimeoutError):
    """Nothing came for as long as the caller was ready to wait. The measurement goes on."""

    #: What had come by then, where a list was asked for.
    results: Results[Any] | None = None


class ApiError(Error):
    """The anchor declines a request (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        text = problem.get("title", "the request was declined")
        if problem.get("detail"):
            text += ": " + problem["detail"]
        for error in problem.get("errors", ()):
            text += "; " + error["pointer"] + ": " + error["detail"]
        if problem.get("hint"):
            text += " (" + problem["hint"] + ")"
        super().__init__(text)
        self.problem = problem

    def __reduce__(self) -> tuple[type[ApiError], tuple[dict[str, Any]]]:
        return type(self), (self.problem,)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.problem["status"])

    @property
    def reason(self) -> str:
        """A stable code in lower case with dashes."""
        return str(self.problem["reason"])

    @property
    def detail(self) -> str | None:
        """What is wrong in this case."""
        return self.problem.get("detail")

    @property
    def hint(self) -> str | None:
        """What to do about it."""
        return self.problem.get("hint")

    @property
    def retry_after_s(self) -> int | None:
        """After how many seconds the same request may do better."""
        return self.problem.get("retry_after_s")


class MeasurementError(Error):
    """A task did not end as *ok*. The text names the vantage point, the target and the reason."""

    def __init__(self, result: Result) -> None:
        where = result.vp_name or result.vp_id or "no vantage point"
        text = f"{result.kind} from {where}"
        if result.target is not None:
            text += f" to {result.target}"
        text += f" {result.outcome}"
        if result.reason is not None:
            text += f": {result.reason}"
        super().__init__(text)
        self.result = result

    def __reduce__(self) -> tuple[type[MeasurementError], tuple[Result]]:
        return type(self), (self.result,)

    @property
    def vp(self) -> VantagePoint | None:
        """From where; `None` when the task was never sent to one."""
        return self.result.vp

    @property
    def reason(self) -> Reason | None:
        """Why."""
        return self.result.reason

    @property
    def code(self) -> str | None:
        """The stable code of the reason: `policy`, `deadline`, `unresolvable`, …"""
        return self.result.reason.code if self.result.reason is not None else None


class MeasurementFailed(MeasurementError):
    """It could not be performed: the name has no address, there is no route, …"""


class MeasurementRefused(MeasurementError):
    """It was declined by policy, limits or parameters."""


class MeasurementLost(MeasurementError):
    """Nothing came back by the deadline."""


class MeasurementCancelled(MeasurementError):
    """It was called off."""


_BY_OUTCOME = {
    "failed": MeasurementFailed,
    "refused": MeasurementRefused,
    "lost": MeasurementLost,
    "cancelled": MeasurementCancelled,
}


def of_result(result: Result) -> MeasurementError:
    """The exception of a result that is not *ok*."""
    return _BY_OUTCOME.get(result.outcome, MeasurementError)(result)
