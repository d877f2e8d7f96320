"""Values of results in Python's own types, and results for people to look at."""

from __future__ import annotations

from datetime import datetime, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._results import Result

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def instant(text: str) -> datetime:
    """An instant of the contract (RFC 3339, UTC, nine digits), to the microsecond."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(rest + '000000')[:6]}+00:00")


def instant_ns(text: str) -> int:
    """An instant of the contract in nanoseconds since 1970 (UTC)."""
    whole, _, rest = text.rstrip("Z").partition(".")
    since = datetime.fromisoformat(f"{whole}+00:00") - _EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + int((rest + "000000000")[:9])


def octets(value: Any) -> bytes:
    """Bytes of the contract: as they are, or base64 of either alphabet where they came through JSON."""
    if isinstance(value, bytes):
        return value
    from base64 import urlsafe_b64decode

    text = str(value).rstrip("=").replace("+", "-").replace("/", "_")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def numbers(result: Result) -> dict[str, float]:
    """Those of its summary; of a kind that has none, those of its body."""
    if result.summary:
        return result.summary
    body = result.body if isinstance(result.body, dict) else {"result": result.body}
    return {name: value for name, value in body.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}


def record(result: Result) -> dict[str, Any]:
    """All of a result, by the names of the contract."""
    from ._native import decode

    whole: dict[str, Any] = decode(result._record)
    whole["body"] = result.body
    return whole


def record_json(result: Result) -> str:
    """A result as a line of JSON."""
    from ._native import decode_json

    return decode_json(result._record)


def record_html(result: Result) -> str:
    """A result for a notebook."""
    rows: list[tuple[str, object]] = [("from", result.vp_name), ("to", result.target), ("outcome", result.outcome)]
    if result.reason is not None:
        rows.append(("reason", result.reason))
    rows += [(name, _number(name, value)) for name, value in numbers(result).items()]
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table><caption>{_text(result.kind)}</caption>{cells}</table>"


# As many rows of a list are shown.
_SHOWN = 20


def results_html(results: Sequence[Result]) -> str:
    """Results for a notebook: a row each."""
    shown = [(result, numbers(result)) for result in results[:_SHOWN]]
    names = list(dict.fromkeys(name for _, found in shown for name in found))
    head = "".join(f"<th>{_text(name)}</th>" for name in ["from", "to", "outcome", *names])
    body = ""
    for result, found in shown:
        cells = [result.vp_name, result.target, result.outcome]
        cells += [_number(name, found[name]) if name in found else "" for name in names]
        body += "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"
    more = f"<caption>{_SHOWN} of {len(results)} results</caption>" if len(results) > _SHOWN else ""
    return f"<table>{more}<tr>{head}</tr>{body}</table>"


def _number(name: str, value: float) -> str:
    return f"{value / 1e6:.3f} ms" if name.endswith("_ns") else str(value)


def _text(value: object) -> str:
    from html import escape

    return "" if value is None else escape(str(value))
