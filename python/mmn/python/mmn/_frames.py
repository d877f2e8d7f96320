"""Results as tables. The libraries for them are wanted when they are asked for."""

from __future__ import annotations

from ._values import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import pandas
    import polars
    import pyarrow

    from ._results import Result

# What every result has, by the names of the columns.
ENVELOPE: dict[str, Callable[[Result], Any]] = {
    "kind": lambda result: result.kind,
    "vp": lambda result: result.vp_name,
    "vp_id": lambda result: result.vp_id,
    "target": lambda result: result.target,
    "outcome": lambda result: result.outcome,
    "reason": lambda result: result.reason.code if result.reason is not None else None,
    "started_at_ns": lambda result: result.started_at_ns,
    "duration_ns": lambda result: result.duration_ns,
    "task": lambda result: result.task,
}


def columns(results: Sequence[Result]) -> dict[str, list[Any]]:
    """The table as lists: what every result has, then its numbers; what was not measured is `None`."""
    found = [numbers(result) for result in results]
    table = {name: [of(result) for result in results] for name, of in ENVELOPE.items()}
    for name in dict.fromkeys(name for one in found for name in one):
        table[name if name not in table else f"summary_{name}"] = [one.get(name) for one in found]
    return table


def to_arrow(results: Sequence[Result]) -> pyarrow.Table:
    """A table of pyarrow; instants are timestamps in UTC."""
    pa = wanted("pyarrow")
    table = columns(results)
    arrays: dict[str, Any] = {}
    for name, values in table.items():
        arrays[name] = pa.array(_alike(values), _arrow_type(pa, values))
    arrays["started_at"] = arrays.pop("started_at_ns").cast(pa.int64()).cast(pa.timestamp("ns", tz="UTC"))
    made: pyarrow.Table = pa.table(arrays)
    return made


def _arrow_type(pa: Any, values: list[Any]) -> Any:
    if any(isinstance(value, float) for value in values):
        return pa.float64()
    if any(isinstance(value, str) for value in values):
        return pa.string()
    return pa.int64() if any(value is not None for value in values) else pa.null()


def to_pandas(results: Sequence[Result]) -> pandas.DataFrame:
    """A frame of pandas; counts stay integers where some are missing."""
    pd = wanted("pandas")
    table = {name: pd.Series(_alike(values), dtype=_pandas_type(values)) for name, values in columns(results).items()}
    frame: pandas.DataFrame = pd.DataFrame(table)
    frame["started_at"] = pd.to_datetime(frame.pop("started_at_ns"), unit="ns", utc=True)
    return frame


def _pandas_type(values: list[Any]) -> str:
    if any(isinstance(value, float) for value in values):
        return "float64"
    return "Int64" if any(isinstance(value, int) for value in values) else "object"


def to_polars(results: Sequence[Result]) -> polars.DataFrame:
    """A frame of polars; instants are datetimes in UTC."""
    pl = wanted("polars")
    table = columns(results)
    frame = pl.DataFrame([pl.Series(name, _alike(values)) for name, values in table.items()])
    started = pl.from_epoch(pl.col("started_at_ns").cast(pl.Int64), time_unit="ns").dt.replace_time_zone("UTC")
    made: polars.DataFrame = frame.with_columns(started.alias("started_at")).drop("started_at_ns")
    return made


def _alike(values: list[Any]) -> list[Any]:
    """Numbers of one type: real, where one of them is."""
    if not any(isinstance(value, float) for value in values):
        return values
    return [None if value is None else float(value) for value in values]


def wanted(name: str) -> Any:
    """A library that makes tables; without it an error that says how to get it, before any result has been read."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"this table is made by {name}, which is not installed: pip install {name}") from error
