"""Vantage points, and what a control has asked of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Optional, Union

if TYPE_CHECKING:
    from scamper._ctrl import ScamperCtrl

# The attributes of the mux protocol, by their numbers.
NAME, _ARRIVAL, IPV4, ASN4, CC, ST, PLACE, LATLONG, SHORTNAME, TAG, IATA, IPV6, ASN6 = range(1, 14)

Asn = Union[int, str, None]


def _upper(text: Optional[str]) -> Optional[str]:
    return None if text is None else text.upper()


def _number(text: Optional[str]) -> Asn:
    return int(text) if text is not None and text.isdecimal() else text


class _Ordered:
    """Equal to itself alone, and ordered as it was made."""

    _key: tuple[int, ...] = ()

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not made, but given by a ScamperCtrl")

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, type(self)) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._key < other._key if isinstance(other, type(self)) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._key <= other._key if isinstance(other, type(self)) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._key > other._key if isinstance(other, type(self)) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._key >= other._key if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)


class ScamperVp(_Ordered):
    """A vantage point that a mux tells of."""

    _wire: int
    _instance: int
    _said: dict[int, list[str]]

    @classmethod
    def _made(cls, control: int, wire: int, instance: int, said: list[tuple[int, str]]) -> ScamperVp:
        vp = cls.__new__(cls)
        vp._key = (control, wire, instance)
        vp._wire, vp._instance, vp._said = wire, instance, {}
        for number, text in said:
            vp._said.setdefault(number, []).append(text)
        return vp

    def _first(self, number: int) -> Optional[str]:
        texts = self._said.get(number)
        return texts[0] if texts else None

    def __str__(self) -> str:
        return self.name or f"vantage point {self._instance}"

    def __repr__(self) -> str:
        return f"<ScamperVp {self}>"

    @property
    def name(self) -> Optional[str]:
        """Its name."""
        return self._first(NAME)

    @property
    def shortname(self) -> Optional[str]:
        """A short name, else its name."""
        return self._first(SHORTNAME) or self.name

    @property
    def tags(self) -> set[str]:
        """Its tags."""
        return set(self._said.get(TAG, ()))

    @property
    def asn4(self) -> Asn:
        """The AS of its IPv4 address."""
        return _number(self._first(ASN4))

    @property
    def ipv4(self) -> Optional[str]:
        """Its IPv4 address."""
        return self._first(IPV4)

    @property
    def asn6(self) -> Asn:
        """The AS of its IPv6 address."""
        return _number(self._first(ASN6))

    @property
    def ipv6(self) -> Optional[str]:
        """Its IPv6 address."""
        return self._first(IPV6)

    @property
    def loc(self) -> Optional[tuple[float, float]]:
        """Latitude and longitude in degrees."""
        latitude, comma, longitude = (self._first(LATLONG) or "").partition(",")
        return (float(latitude), float(longitude)) if comma else None

    @property
    def iata(self) -> Optional[str]:
        """An airport near it."""
        return _upper(self._first(IATA))

    @property
    def cc(self) -> Optional[str]:
        """Its country."""
        return _upper(self._first(CC))

    @property
    def st(self) -> Optional[str]:
        """Its state or province."""
        return _upper(self._first(ST))

    @property
    def place(self) -> Optional[str]:
        """Its place."""
        return self._first(PLACE)


class ScamperMux(_Ordered):
    """A mux: a socket behind which many vantage points are."""

    _control: ScamperCtrl[Any]
    _wire: int
    _path: str

    @classmethod
    def _made(cls, control: ScamperCtrl[Any], wire: int, path: str) -> ScamperMux:
        mux = cls.__new__(cls)
        mux._key = (id(control), wire)
        mux._control, mux._wire, mux._path = control, wire, path
        return mux

    def __str__(self) -> str:
        return self._path

    def vps(self) -> list[ScamperVp]:
        """The vantage points that are there now."""
        return self._control._vps_of(self._wire)


class ScamperInst(_Ordered):
    """A vantage point that commands can be sent to."""

    _control: ScamperCtrl[Any]
    _lane: int
    _vp: Optional[ScamperVp]
    _name: Optional[str]
    _tasks: set[ScamperTask]
    _queued: int
    _eof: bool
    _done: bool
    _removed: bool

    @classmethod
    def _made(cls, control: ScamperCtrl[Any], lane: int, name: Optional[str], vp: Optional[ScamperVp]) -> ScamperInst:
        inst = cls.__new__(cls)
        inst._key = (id(control), lane)
        inst._control, inst._lane, inst._name, inst._vp = control, lane, name, vp
        inst._tasks, inst._queued = set(), 0
        inst._eof = inst._done = inst._removed = False
        return inst

    def __str__(self) -> str:
        return self._name or f"instance {self._lane}"

    def __repr__(self) -> str:
        return f"<ScamperInst {self}>"

    @property
    def name(self) -> Optional[str]:
        """Its name: of the vantage point, or where it is connected to."""
        return self._name

    @property
    def shortname(self) -> Optional[str]:
        """A short name, else its name."""
        return None if self._vp is None else self._vp.shortname

    @property
    def tags(self) -> Optional[set[str]]:
        """Its tags."""
        return None if self._vp is None else self._vp.tags

    @property
    def asn4(self) -> Asn:
        """The AS of its IPv4 address."""
        return None if self._vp is None else self._vp.asn4

    @property
    def ipv4(self) -> Optional[str]:
        """Its IPv4 address."""
        return None if self._vp is None else self._vp.ipv4

    @property
    def asn6(self) -> Asn:
        """The AS of its IPv6 address."""
        return None if self._vp is None else self._vp.asn6

    @property
    def ipv6(self) -> Optional[str]:
        """Its IPv6 address."""
        return None if self._vp is None else self._vp.ipv6

    @property
    def loc(self) -> Optional[tuple[float, float]]:
        """Latitude and longitude in degrees."""
        return None if self._vp is None else self._vp.loc

    @property
    def iata(self) -> Optional[str]:
        """An airport near it."""
        return None if self._vp is None else self._vp.iata

    @property
    def cc(self) -> Optional[str]:
        """Its country."""
        return None if self._vp is None else self._vp.cc

    @property
    def st(self) -> Optional[str]:
        """Its state or province."""
        return None if self._vp is None else self._vp.st

    @property
    def place(self) -> Optional[str]:
        """Its place."""
        return None if self._vp is None else self._vp.place

    @property
    def taskc(self) -> int:
        """How many measurements are to come back from it."""
        return len(self._tasks)

    @property
    def resultc(self) -> int:
        """How many results of it wait to be taken."""
        return self._queued

    def done(self) -> None:
        """Says that nothing more is asked of it: it ends when its results are here."""
        if self._removed:
            raise ValueError("the instance was removed")
        self._done = True
        self._control._wires.done(self._lane)

    def is_done(self) -> bool:
        """Whether it was said that nothing more is asked of it."""
        if self._removed:
            raise ValueError("the instance was removed")
        return self._done

    def is_eof(self) -> bool:
        """Whether it has ended."""
        return self._eof


def remote_name(path: str) -> str:
    """The name of a remote daemon by its socket: `NAME-ADDRESS:PORT`."""
    match = re.match(r"(?:.+/)?(.+)-", path)
    return match.group(1) if match else path


class ScamperTask(_Ordered):
    """A measurement that was asked for."""

    _inst: ScamperInst
    _token: int
    _command: str

    @classmethod
    def _made(cls, inst: ScamperInst, token: int, command: str) -> ScamperTask:
        task = cls.__new__(cls)
        task._key = (id(inst._control), token)
        task._inst, task._token, task._command = inst, token, command
        return task

    def __str__(self) -> str:
        return self._command

    def halt(self) -> None:
        """Calls it off. A result comes nonetheless, which says so."""
        self._inst._control._wires.halt(self._inst._lane, self._token)


class ScamperInstError(Exception):
    """A vantage point has turned something down, or is gone."""

    inst: ScamperInst

    def __init__(self, message: str, inst: ScamperInst) -> None:
        super().__init__(message)
        self.inst = inst
