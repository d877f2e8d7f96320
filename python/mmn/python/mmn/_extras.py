"""Short ways to what scripts look at most, beside the attributes that the contract has."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .kinds.dns import DnsRecord
    from .kinds.trace import TraceReply


class TraceHopExtras:
    """Of a hop of a trace."""

    __slots__ = ()

    if TYPE_CHECKING:
        probes: Any

    @property
    def reply(self) -> TraceReply | None:
        """The first reply of the hop; `None` where it is silent."""
        for probe in self.probes:
            if probe.reply is not None:
                reply: TraceReply = probe.reply
                return reply
        return None


class DnsResultExtras:
    """Of an answer of a name server."""

    __slots__ = ()

    if TYPE_CHECKING:
        response: Any

    @property
    def answer(self) -> list[DnsRecord]:
        """The records of the answer section; empty where there was no response."""
        answer: list[DnsRecord] = self.response.answer if self.response is not None else []
        return answer

    @property
    def nsid(self) -> str | None:
        """Which of its servers answered (RFC 5001): as text, or in hexadecimal where it is none; `None` where it was not asked
        by `nsid=True`, or did not say."""
        edns = self.response.edns if self.response is not None else None
        if edns is None or edns.nsid is None:
            return None
        text: str | None = edns.nsid.text
        return text if text is not None else str(edns.nsid.raw.hex())
