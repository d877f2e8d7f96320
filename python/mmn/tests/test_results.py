"""Results by themselves: what is read out of a record, whoever wrote it."""

from __future__ import annotations

import struct
from typing import Any

import mmn
from mmn.kinds import DnsResult


def cbor(value: Any) -> bytes:
    """A value in CBOR (RFC 8949), for what a record holds."""

    def head(major: int, number: int) -> bytes:
        return struct.pack(">BQ", major << 5 | 27, number)

    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xFB, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(name) + cbor(held) for name, held in value.items())


def record(body: Any, summary: dict[str, float] | None = None) -> bytes:
    known: dict[str, Any] = {"task": "0", "kind": "weather", "vp": "abcdefghij234567", "vp_name": "ams1", "outcome": "ok"}
    return cbor(known | {"body": cbor(body), "summary": summary or {}})


def test_a_kind_without_a_summary_shows_the_numbers_of_its_body() -> None:
    body = {"celsius": 21.5, "gusts": 3, "wet": False, "sky": "clear", "hours": [1, 2], "wait_ns": 1_500_000}
    result = mmn.Result(record(body))
    assert repr(result) == "Result(vp='ams1', celsius=21.5, gusts=3, wait_ns=1500000)"
    assert "<th>celsius</th><td>21.5</td>" in result._repr_html_() and "<td>1.500 ms</td>" in result._repr_html_()
    results = mmn.collect([result, mmn.Result(record({"gusts": 4}))])
    assert "<th>gusts</th>" in results._repr_html_() and "<td>4</td>" in results._repr_html_()
    assert results.to_columns()["gusts"] == [3, 4] and results.to_columns()["celsius"] == [21.5, None]
    assert repr(mmn.Result(record(7))) == "Result(vp='ams1', result=7)"
    assert repr(mmn.Result(record("clear"))) == "Result(vp='ams1')"


def test_a_summary_is_shown_before_a_body() -> None:
    assert repr(mmn.Result(record({"celsius": 21.5}, {"gusts": 3}))) == "Result(vp='ams1', gusts=3)"


def test_a_name_server_says_which_it_is() -> None:
    def said(edns: dict[str, Any] | None) -> str | None:
        return DnsResult(record({"response": {"edns": edns}})).nsid

    assert said({"nsid": {"raw": b"fra1", "text": "fra1"}}) == "fra1"
    assert said({"nsid": {"raw": b"\x00\xff"}}) == "00ff"
    assert said({}) is None and said(None) is None and DnsResult(record({})).nsid is None
