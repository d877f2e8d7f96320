"""Results: what every kind's have, and lists of them."""

from __future__ import annotations

from typing import Generic, TypeVar

from ._native import Part, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    import pandas
    import polars
    import pyarrow

    from ._vps import VantagePoint

__all__ = ["Reason", "Result", "Results"]


class Reason:
    """Why a task did not end as *ok*."""

    __slots__ = ("code", "detail")

    #: A stable code in lower case with dashes.
    code: str
    #: What happened in this case, for a person.
    detail: str | None

    def __init__(self, code: str, detail: str | None = None) -> None:
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code

    def __repr__(self) -> str:
        return f"Reason({self.code!r}, {self.detail!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reason):
            return NotImplemented
        return (self.code, self.detail) == (other.code, other.detail)

    def __hash__(self) -> int:
        return hash((self.code, self.detail))


class Result(Record):
    """What a task produced. It is decoded as it is looked at; what was not measured is `None`.

    `task`, `kind`, `target`, `outcome` (`ok`, `failed`, `refused`, `lost`, `cancelled`), `ok`, `answered` (whether the network
    answered at all), `attempt`, `duration_ns`, `simulated` and `cursor` say what of. `summary` has the kind's numbers, `body`
    its whole result as the contract has it.
    """

    __slots__ = ()

    @property
    def vp(self) -> VantagePoint | None:
        """From where; `None` when the task was never sent to a vantage point. See `mmn.aio.Network.vp_of` for asyncio."""
        id = self.vp_id
        if id is None:
            return None
        net = self._net
        if net is not None:
            known: VantagePoint = net._vp(id, self.vp_name)
            return known
        from ._vps import VantagePoint

        return VantagePoint(id, {"vantage_point": {"id": id, "name": self.vp_name or id}})

    @property
    def vp_name(self) -> str | None:
        """The name of the vantage point, where it is known."""
        name, id = super().vp_name, self.vp_id
        if name in (None, id) and id is not None and self._net is not None:
            # An anchor that has just taken over does not know it yet, and says the id; who asked may know.
            known: str | None = self._net._name_of(id)
            return known or name
        return name

    @property
    def reason(self) -> Reason | None:
        """Why, unless it is *ok*."""
        reason = self._reason
        return Reason(reason["code"], reason.get("detail")) if reason is not None else None

    @property
    def started_at(self) -> datetime | None:
        """When it began, by the vantage point's clock, to the microsecond; `None` when it never did."""
        from ._values import instant

        text = self._started_at
        return instant(text) if text is not None else None

    @property
    def started_at_ns(self) -> int | None:
        """The same in nanoseconds since 1970 (UTC)."""
        from ._values import instant_ns

        text = self._started_at
        return instant_ns(text) if text is not None else None

    def check(self) -> None:
        """Raises the `MeasurementError` of a result that is not *ok*."""
        if not self.ok:
            from ._errors import of_result

            raise of_result(self)

    def to_dict(self) -> dict[str, Any]:
        """The whole of it in Python's own types, as the contract's `ResultRecord` has it."""
        from ._values import record

        return record(self)

    def to_json(self) -> str:
        """A line of JSON, as `mmn … --json` prints it."""
        from ._values import record_json

        return record_json(self)

    def __repr__(self) -> str:
        from ._values import numbers

        told = [f"vp={self.vp_name!r}"]
        if self.target is not None:
            told.append(f"target={self.target!r}")
        if self.ok:
            told += [f"{name}={value!r}" for name, value in numbers(self).items()]
        else:
            told += [f"outcome={self.outcome!r}", f"reason={str(self.reason)!r}"]
        return f"{type(self).__name__}({', '.join(told)})"

    def _repr_html_(self) -> str:
        from ._values import record_html

        return record_html(self)

    def __reduce__(self) -> tuple[type[Result], tuple[bytes]]:
        return type(self), (self._record,)


R = TypeVar("R", bound=Result)


class Results(list[R], Generic[R]):
    """A list of results, which becomes a table in one call."""

    __slots__ = ()

    def to_columns(self) -> dict[str, list[Any]]:
        """The table as lists: what every result has, then the numbers of the kinds' summaries, or of bodies without one."""
        from ._frames import columns

        return columns(self)

    def to_arrow(self) -> pyarrow.Table:
        """A table of pyarrow. It needs `pip install pyarrow`."""
        from ._frames import to_arrow

        return to_arrow(self)

    def to_pandas(self) -> pandas.DataFrame:
        """A frame of pandas. It needs `pip install pandas`."""
        from ._frames import to_pandas

        return to_pandas(self)

    def to_polars(self) -> polars.DataFrame:
        """A frame of polars. It needs `pip install polars`."""
        from ._frames import to_polars

        return to_polars(self)

    def _repr_html_(self) -> str:
        from ._values import results_html

        return results_html(self)


class Piece(Part):
    """A piece of a result that has pieces of its own."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """It in Python's own types, as the contract has it."""
        return self._data

    def __repr__(self) -> str:
        told = (f"{name}={getattr(self, name, value)!r}" for name, value in self._data.items())
        return f"{type(self).__name__}({', '.join(told)})"

    def __reduce__(self) -> tuple[type[Piece], tuple[dict[str, Any]]]:
        return type(self), (self._data,)


def collect(results: Iterable[R]) -> Results[R]:
    """Results of any source as a list that becomes a table."""
    return Results(results)
