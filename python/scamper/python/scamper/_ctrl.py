"""Asking vantage points to measure."""

from __future__ import annotations

import collections
import datetime
import os
import stat
import time
import types
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Callable, Generic, Optional, TypeVar, Union, cast

from scamper import _commands
from scamper._commands import Address, Span, span
from scamper._native import (
    ScamperCycle,
    ScamperDealias,
    ScamperDealiasMidardiscRound,
    ScamperDealiasProbedef,
    ScamperFile,
    ScamperHost,
    ScamperHttp,
    ScamperList,
    ScamperOwamp,
    ScamperPing,
    ScamperSniff,
    ScamperTbit,
    ScamperTrace,
    ScamperTracelb,
    ScamperUdpprobe,
    _Wires,
)
from scamper._vps import ScamperInst, ScamperInstError, ScamperMux, ScamperTask, ScamperVp, remote_name

PT = TypeVar("PT")
R = TypeVar("R")
Where = Union[ScamperInst, list[ScamperInst], set[ScamperInst], None]
Tasks = Union[ScamperTask, list[ScamperTask]]


class ScamperCtrl(Generic[PT]):
    """Connections to vantage points: what is asked of them and what comes back.

    A control belongs to one thread and to one process. While it waits other threads run on, and Ctrl-C ends the waiting.
    """

    def __init__(
        self,
        meta: bool = False,
        morecb: Optional[Callable[[ScamperCtrl[PT], ScamperInst, PT], None]] = None,
        eofcb: Optional[Callable[[ScamperCtrl[PT], ScamperInst, PT], None]] = None,
        param: PT = None,  # type: ignore[assignment]
        unix: Optional[str] = None,
        remote: Optional[str] = None,
        remote_dir: Optional[str] = None,
        mux: Optional[str] = None,
        outfile: Optional[ScamperFile] = None,
    ) -> None:
        self._wires = _Wires()
        self._insts: dict[int, ScamperInst] = {}
        self._tasks: dict[int, ScamperTask] = {}
        self._muxes: list[ScamperMux] = []
        self._queue: collections.deque[tuple[ScamperInst, Any]] = collections.deque()
        self._exceptions: collections.deque[BaseException] = collections.deque()
        self._meta = meta
        # What is waited for, and what became of it.
        self._awaited: Optional[int] = None
        self._answer: Any = None
        self._abandoned: set[int] = set()
        #: Called with the control, an instance and `param` when the instance has room for another command.
        self.morecb = morecb
        #: Called the same way when an instance has ended and its results are taken.
        self.eofcb = eofcb
        #: Whatever the callbacks are to know.
        self.param = param
        self.outfile = outfile
        if unix is not None:
            self.add_unix(unix)
        if remote is not None:
            self.add_remote(remote)
        if remote_dir is not None:
            self.add_remote_dir(remote_dir)
        if mux is not None:
            self.add_mux(mux)

    def __enter__(self) -> ScamperCtrl[PT]:
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[types.TracebackType],
    ) -> Optional[bool]:
        return None

    @property
    def outfile(self) -> Optional[ScamperFile]:
        """A file that every result is written to as well."""
        return self._outfile

    @outfile.setter
    def outfile(self, outfile: Optional[ScamperFile]) -> None:
        if outfile is not None:
            if not isinstance(outfile, ScamperFile):
                raise ValueError("outfile is no ScamperFile")
            if not outfile.is_write():
                raise RuntimeError("outfile was not opened to be written")
        self._outfile = outfile

    @property
    def instc(self) -> int:
        """How many instances there are."""
        return len(self._insts)

    @property
    def taskc(self) -> int:
        """How many measurements are to come back."""
        return len(self._tasks)

    # Whom to ask.

    def add_unix(self, path: str) -> ScamperInst:
        """Connects to the control socket of a vantage point."""
        return self._add(self._wires.unix(path), str(path))

    def add_inet(self, port: int, addr: Optional[str] = None) -> ScamperInst:
        """Connects to a control socket over TCP; of this machine, when no address is given."""
        return self._add(self._wires.inet(addr or "127.0.0.1", port), f"{addr or '127.0.0.1'}:{port}")

    def add_remote(self, path: str) -> ScamperInst:
        """Connects to the socket of a remote daemon."""
        return self._add(self._wires.remote(path), remote_name(str(path)))

    def add_remote_dir(self, path: str) -> None:
        """Connects to every socket of a folder that answers."""
        for name in sorted(os.listdir(path)):
            socket = os.path.join(path, name)
            if stat.S_ISSOCK(os.stat(socket).st_mode):
                try:
                    self.add_remote(socket)
                except RuntimeError:
                    # One that nobody listens on.
                    continue

    def add_mux(self, path: str) -> None:
        """Connects to a mux, and learns what vantage points it has."""
        wire = self._wires.mux(path)
        while not self._wires.told(wire):
            self._pump(None)
        self._muxes.append(ScamperMux._made(self, wire, str(path)))

    def add_vps(self, vps: Union[Iterable[ScamperVp], ScamperVp]) -> list[ScamperInst]:
        """Makes instances of vantage points. One that is gone by now is left out."""
        chosen = [vps] if isinstance(vps, ScamperVp) else list(vps)
        if not all(isinstance(vp, ScamperVp) for vp in chosen):
            raise TypeError("vps has something that is no ScamperVp")
        lanes = [(vp, self._wires.vp(vp._wire, vp._instance)) for vp in chosen]
        return [self._add(lane, vp.name, vp) for vp, lane in lanes if lane is not None]

    def vps(self) -> list[ScamperVp]:
        """The vantage points of all muxes."""
        self._pump(0.0)
        return [vp for mux in self._muxes for vp in self._vps_of(mux._wire)]

    def remove(self, inst: ScamperInst) -> None:
        """Forgets an instance, and what was asked of it."""
        if not isinstance(inst, ScamperInst):
            raise TypeError("inst is no ScamperInst")
        if self._insts.get(inst._lane) is not inst:
            raise ValueError("the instance is not of this control")
        del self._insts[inst._lane]
        for task in inst._tasks:
            self._tasks.pop(task._token, None)
        inst._tasks.clear()
        inst._removed = True
        self._wires.forget(inst._lane)

    def instances(self) -> list[ScamperInst]:
        """The instances that there are."""
        return list(self._insts.values())

    def done(self) -> None:
        """Says that nothing more is asked of any instance."""
        for inst in self.instances():
            inst.done()

    def is_done(self) -> bool:
        """Whether all instances have ended, and every result is taken."""
        return not self._queue and not self._insts

    # What comes back.

    def exceptions(self) -> Generator[BaseException, None, None]:
        """What has gone wrong since this was last asked, callbacks included."""
        while self._exceptions:
            yield self._exceptions.popleft()

    def poll(self, timeout: Optional[Span] = None, until: Optional[datetime.datetime] = None) -> Any:
        """The next result; None when there is none in time, or will be none. What has gone wrong is raised."""
        left = _left(timeout, until)
        while True:
            if self._exceptions:
                raise self._exceptions.popleft()
            for result in self._taken(False):
                return result
            if self.is_done():
                return None
            seconds = left()
            if seconds is not None and seconds <= 0:
                return None
            self._pump(seconds)

    def responses(
        self, timeout: Optional[Span] = None, until: Optional[datetime.datetime] = None
    ) -> Generator[Any, None, None]:
        """The results, until all that was asked is back or the time is over."""
        left = _left(timeout, until)
        while True:
            yield from self._taken(True)
            seconds = left()
            if not self._tasks or (seconds is not None and seconds <= 0):
                return
            self._pump(seconds)

    # What to ask.

    def do_ping(
        self,
        dst: Address,
        tcp_ack: Optional[int] = None,
        tcp_seq: Optional[int] = None,
        tcp_mss: Optional[int] = None,
        attempts: Optional[int] = None,
        icmp_id: Optional[int] = None,
        icmp_seq: Optional[int] = None,
        icmp_sum: Optional[int] = None,
        dport: Optional[int] = None,
        sport: Optional[int] = None,
        wait_probe: Optional[Span] = None,
        ttl: Optional[int] = None,
        mtu: Optional[int] = None,
        stop_count: Optional[int] = None,
        method: Optional[str] = None,
        payload: Optional[bytes] = None,
        rtr: Optional[Address] = None,
        ip_rr: Optional[bool] = None,
        ip_ts: Union[str, Sequence[Address], None] = None,
        dltx: Optional[bool] = None,
        size: Optional[int] = None,
        src: Optional[Address] = None,
        wait_timeout: Optional[Span] = None,
        tos: Optional[int] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperPing, Tasks]:
        """Pings. `sync` waits for the result; else it comes from `responses` or `poll`."""
        command = _commands.ping(
            dst,
            tcp_ack,
            tcp_seq,
            tcp_mss,
            attempts,
            icmp_id,
            icmp_seq,
            icmp_sum,
            dport,
            sport,
            wait_probe,
            ttl,
            mtu,
            stop_count,
            method,
            payload,
            rtr,
            ip_rr,
            ip_ts,
            dltx,
            size,
            src,
            wait_timeout,
            tos,
            userid,
        )
        return self._do(ScamperPing, "ping", command, inst, sync)

    def do_trace(
        self,
        dst: Address,
        confidence: Optional[int] = None,
        dport: Optional[int] = None,
        icmp_id: Optional[int] = None,
        icmp_sum: Optional[int] = None,
        firsthop: Optional[int] = None,
        gaplimit: Optional[int] = None,
        loops: Optional[int] = None,
        hoplimit: Optional[int] = None,
        pmtud: Optional[bool] = None,
        squeries: Optional[int] = None,
        ptr: Optional[bool] = None,
        payload: Optional[bytes] = None,
        method: Optional[str] = None,
        attempts: Optional[int] = None,
        all_attempts: Optional[bool] = None,
        rtr: Optional[Address] = None,
        sport: Optional[int] = None,
        src: Optional[Address] = None,
        tos: Optional[int] = None,
        wait_timeout: Optional[Span] = None,
        wait_probe: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTrace, Tasks]:
        """Traces a path."""
        command = _commands.trace(
            dst,
            confidence,
            dport,
            icmp_id,
            icmp_sum,
            firsthop,
            gaplimit,
            loops,
            hoplimit,
            pmtud,
            squeries,
            ptr,
            payload,
            method,
            attempts,
            all_attempts,
            rtr,
            sport,
            src,
            tos,
            wait_timeout,
            wait_probe,
            userid,
        )
        return self._do(ScamperTrace, "trace", command, inst, sync)

    def do_tracelb(
        self,
        dst: Address,
        confidence: Optional[int] = None,
        dport: Optional[int] = None,
        firsthop: Optional[int] = None,
        gaplimit: Optional[int] = None,
        method: Optional[str] = None,
        attempts: Optional[int] = None,
        ptr: Optional[bool] = None,
        rtr: Optional[Address] = None,
        sport: Optional[int] = None,
        tos: Optional[int] = None,
        wait_timeout: Optional[Span] = None,
        wait_probe: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTracelb, Tasks]:
        """Traces all paths."""
        command = _commands.tracelb(
            dst,
            confidence,
            dport,
            firsthop,
            gaplimit,
            method,
            attempts,
            ptr,
            rtr,
            sport,
            tos,
            wait_timeout,
            wait_probe,
            userid,
        )
        return self._do(ScamperTracelb, "tracelb", command, inst, sync)

    def do_dns(
        self,
        qname: str,
        server: Optional[Address] = None,
        qclass: Optional[str] = None,
        qtype: Optional[str] = None,
        mqtypes: Optional[list[str]] = None,
        attempts: Optional[int] = None,
        rd: Optional[bool] = None,
        wait_timeout: Optional[Span] = None,
        tcp: Optional[bool] = None,
        nsid: Optional[bool] = None,
        ecs: Optional[str] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperHost, Tasks]:
        """Asks a DNS server."""
        command = _commands.dns(
            qname, server, qclass, qtype, mqtypes, attempts, rd, wait_timeout, tcp, nsid, ecs, userid
        )
        return self._do(ScamperHost, "host", command, inst, sync)

    def do_http(
        self,
        dst: Address,
        url: str,
        headers: Optional[dict[str, str]] = None,
        insecure: Optional[bool] = None,
        limit_time: Optional[Span] = None,
        ech_grease: Optional[bool] = None,
        ech_config_list: Optional[str] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperHttp, Tasks]:
        """Asks a web server, whose address is `dst`."""
        command = _commands.http(dst, url, headers, insecure, limit_time, ech_grease, ech_config_list, userid)
        return self._do(ScamperHttp, "http", command, inst, sync)

    def do_udpprobe(
        self,
        dst: Address,
        dport: int,
        payload: bytes,
        attempts: Optional[int] = None,
        src: Optional[Address] = None,
        stop_count: Optional[int] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperUdpprobe, Tasks]:
        """Sends datagrams, and gives what comes back."""
        command = _commands.udpprobe(dst, dport, payload, attempts, src, stop_count, userid)
        return self._do(ScamperUdpprobe, "udpprobe", command, inst, sync)

    def do_ally(
        self,
        dst1: Address,
        dst2: Address,
        fudge: Optional[int] = None,
        icmp_sum: Optional[int] = None,
        dport: Optional[int] = None,
        sport: Optional[int] = None,
        method: Optional[str] = None,
        attempts: Optional[int] = None,
        wait_probe: Optional[Span] = None,
        wait_timeout: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Optional[ScamperInst] = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTask, ScamperDealias]:
        """Finds out whether two addresses are of one router, by their identifiers."""
        command = _commands.pair(
            _commands.dealias("ally"), fudge, icmp_sum, dport, sport, method, attempts, wait_probe, wait_timeout, userid
        )
        return self._do_one(ScamperDealias, "ally", command.end(dst1, dst2), inst, sync)

    def do_mercator(
        self, dst: Address, userid: Optional[int] = None, inst: Where = None, sync: Optional[bool] = None
    ) -> Union[ScamperDealias, Tasks]:
        """Finds another address of a router, by where it answers from."""
        command = _commands.dealias("mercator").option("-U", userid).end(dst)
        return self._do(ScamperDealias, "mercator", command, inst, sync)

    def do_prefixscan(
        self,
        near: Address,
        far: Address,
        prefixlen: int,
        fudge: Optional[int] = None,
        icmp_sum: Optional[int] = None,
        dport: Optional[int] = None,
        sport: Optional[int] = None,
        method: Optional[str] = None,
        attempts: Optional[int] = None,
        wait_probe: Optional[Span] = None,
        wait_timeout: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Optional[ScamperInst] = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTask, ScamperDealias]:
        """Finds the other end of a link."""
        if method is None and icmp_sum is None:
            _commands.ports(method, sport, dport)
            method = "udp"
        command = _commands.pair(
            _commands.dealias("prefixscan"),
            fudge,
            icmp_sum,
            dport,
            sport,
            method,
            attempts,
            wait_probe,
            wait_timeout,
            userid,
        )
        return self._do_one(ScamperDealias, "prefixscan", command.end(near, f"{far}/{prefixlen}"), inst, sync)

    def do_radargun(
        self,
        addrs: Optional[Sequence[Address]] = None,
        rounds: Optional[int] = None,
        probedefs: Optional[Sequence[ScamperDealiasProbedef]] = None,
        wait_probe: Optional[Span] = None,
        wait_round: Optional[Span] = None,
        wait_timeout: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperDealias, Tasks]:
        """Probes many addresses in rounds."""
        command = _commands.radargun(addrs, rounds, probedefs, wait_probe, wait_round, wait_timeout, userid)
        return self._do(ScamperDealias, "radargun", command, inst, sync)

    def do_midarest(
        self,
        rounds: Optional[int] = None,
        wait_probe: Optional[Span] = None,
        wait_round: Optional[Span] = None,
        wait_timeout: Optional[Span] = None,
        probedefs: Optional[Sequence[ScamperDealiasProbedef]] = None,
        addrs: Optional[Sequence[Address]] = None,
        userid: Optional[int] = None,
        inst: Optional[ScamperInst] = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTask, ScamperDealias]:
        """Estimates how fast the counters of addresses run."""
        command = _commands.midarest(rounds, wait_probe, wait_round, wait_timeout, probedefs, addrs, userid)
        return self._do_one(ScamperDealias, "midarest", command, inst, sync)

    def do_midardisc(
        self,
        probedefs: Optional[Sequence[ScamperDealiasProbedef]] = None,
        schedule: Optional[Sequence[ScamperDealiasMidardiscRound]] = None,
        startat: Optional[datetime.datetime] = None,
        wait_timeout: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Optional[ScamperInst] = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTask, ScamperDealias]:
        """Probes addresses by a schedule."""
        command = _commands.midardisc(probedefs, schedule, startat, wait_timeout, userid)
        return self._do_one(ScamperDealias, "midardisc", command, inst, sync)

    def do_owamp(
        self,
        dst: Address,
        direction: str,
        attempts: Optional[int] = None,
        dscp: Optional[int] = None,
        schedule: Optional[str] = None,
        size: Optional[int] = None,
        startat: Optional[datetime.datetime] = None,
        ttl: Optional[int] = None,
        wait_timeout: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Optional[ScamperInst] = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTask, ScamperOwamp]:
        """Measures one-way delay with an OWAMP server."""
        command = _commands.owamp(dst, direction, attempts, dscp, schedule, size, startat, ttl, wait_timeout, userid)
        return self._do_one(ScamperOwamp, "owamp", command, inst, sync)

    def do_sniff(
        self,
        src: Address,
        icmp_id: int,
        limit_pkt_count: Optional[int] = None,
        limit_time: Optional[Span] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperSniff, Tasks]:
        """Captures ICMP messages of an identifier."""
        command = _commands.sniff(src, icmp_id, limit_pkt_count, limit_time, userid)
        return self._do(ScamperSniff, "sniff", command, inst, sync)

    def do_tbit(
        self,
        dst: Address,
        method: Optional[str] = None,
        url: Optional[str] = None,
        userid: Optional[int] = None,
        inst: Where = None,
        sync: Optional[bool] = None,
    ) -> Union[ScamperTbit, Tasks]:
        """Tests a TCP server."""
        return self._do(ScamperTbit, "tbit", _commands.tbit(dst, method, url, userid), inst, sync)

    # How it is done.

    def _add(self, lane: int, name: Optional[str], vp: Optional[ScamperVp] = None) -> ScamperInst:
        inst = ScamperInst._made(self, lane, name, vp)
        self._insts[lane] = inst
        self._wires.results_from(lane, inst)
        return inst

    def _vps_of(self, wire: int) -> list[ScamperVp]:
        return [ScamperVp._made(id(self), wire, instance, said) for instance, said in self._wires.vps(wire)]

    def _usable(self, inst: Optional[ScamperInst]) -> ScamperInst:
        if inst is None:
            if len(self._insts) != 1:
                raise RuntimeError("there are several instances: say which" if self._insts else "there is no instance")
            return next(iter(self._insts.values()))
        if not isinstance(inst, ScamperInst):
            raise TypeError("inst is no ScamperInst")
        if inst._removed:
            raise RuntimeError(f"instance {inst} was removed")
        if inst._eof:
            raise RuntimeError(f"instance {inst} has ended")
        if inst._control is not self:
            raise RuntimeError(f"instance {inst} is of another control")
        return inst

    def _do(self, result: type[R], kind: str, command: str, inst: Where, sync: Optional[bool]) -> Union[R, Tasks]:
        if not isinstance(inst, (list, set)):
            return self._do_one(result, kind, command, inst, sync)
        if sync:
            raise RuntimeError("what is waited for is of one instance")
        if not all(isinstance(one, ScamperInst) for one in inst):
            raise TypeError("inst has something that is no ScamperInst")
        usable = [one for one in dict.fromkeys(inst) if not (one._eof or one._removed)]
        if not usable:
            raise RuntimeError("no instance of these can be used")
        return [self._ask(command, one) for one in usable]

    def _do_one(
        self, result: type[R], kind: str, command: str, inst: Optional[ScamperInst], sync: Optional[bool]
    ) -> Union[R, ScamperTask]:
        if isinstance(inst, (list, set)):
            raise RuntimeError(f"{kind} is done by one instance")
        task = self._ask(command, self._usable(inst))
        return cast(R, self._wait_for(task)) if sync else task

    def _ask(self, command: str, inst: ScamperInst) -> ScamperTask:
        token = self._wires.ask(inst._lane, command)
        task = ScamperTask._made(inst, token, command)
        self._tasks[token] = task
        inst._tasks.add(task)
        return task

    def _wait_for(self, task: ScamperTask) -> Any:
        if self._awaited is not None:
            raise RuntimeError("a callback can't wait for a result while another is waited for")
        self._awaited, self._answer = task._token, None
        try:
            while self._answer is None:
                self._pump(None)
                if self._exceptions and self._answer is None:
                    raise self._exceptions.popleft()
            answer = self._answer
        except BaseException:
            # Nobody waits for it any more: it is called off, and its result is dropped.
            if task._token in self._tasks:
                self._abandoned.add(task._token)
                task.halt()
            raise
        finally:
            self._awaited, self._answer = None, None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _taken(self, keep: bool) -> Generator[Any, None, None]:
        """Takes results from the queue. What eofcb raises is kept for `exceptions`, or raised."""
        while self._queue:
            inst, result = self._queue.popleft()
            inst._queued -= 1
            if inst._eof and inst._queued == 0:
                self._call(self.eofcb, inst)
                if self._exceptions and not keep:
                    self._queue.appendleft((inst, result))
                    inst._queued += 1
                    raise self._exceptions.popleft()
            yield result

    def _call(self, callback: Optional[Callable[[ScamperCtrl[PT], ScamperInst, PT], None]], inst: ScamperInst) -> None:
        if callback is not None:
            try:
                callback(self, inst, self.param)
            except Exception as error:  # it is for who takes the results
                self._exceptions.append(error)

    def _pump(self, seconds: Optional[float]) -> None:
        """Waits until something happens, and sees to it."""
        for lane, what, token, came in self._wires.wait(seconds):
            inst = self._insts.get(lane)
            if inst is None:
                continue
            if what == "data":
                self._result(inst, token, came)
            elif what == "refused":
                self._refused(inst, token, came)
                self._call(self.morecb, inst)
            elif what == "more":
                self._call(self.morecb, inst)
            else:
                self._ended(inst, came)

    def _forget(self, inst: ScamperInst, token: Optional[int]) -> Optional[ScamperTask]:
        task = None if token is None else self._tasks.pop(token, None)
        if task is not None:
            inst._tasks.discard(task)
        return task

    def _result(self, inst: ScamperInst, token: Optional[int], result: Any) -> None:
        self._forget(inst, token)
        if self._outfile is not None:
            try:
                self._outfile.write(result)
            except Exception as error:  # it is for who takes the results
                self._exceptions.append(error)
        if token is not None and token == self._awaited:
            self._answer = result
        elif token is not None and token in self._abandoned:
            self._abandoned.remove(token)
        elif self._meta or not isinstance(result, (ScamperList, ScamperCycle)):
            inst._queued += 1
            self._queue.append((inst, result))

    def _refused(self, inst: ScamperInst, token: Optional[int], reason: str) -> None:
        task = self._forget(inst, token)
        asked = "" if task is None else f" for {task._command.split(' -', 1)[0].split(' ', 1)[0]}"
        if task is not None and task._command.startswith("dealias -m "):
            asked = f" for {task._command.split(' ')[2]}"
        error = ScamperInstError(f"got err from {inst}{asked}: {reason}", inst)
        if token is not None and token == self._awaited:
            self._answer = error
        elif token not in self._abandoned:
            self._exceptions.append(error)
        if token is not None:
            self._abandoned.discard(token)

    def _ended(self, inst: ScamperInst, reason: Optional[str]) -> None:
        inst._eof = True
        del self._insts[inst._lane]
        lost = len(inst._tasks)
        awaited = any(task._token == self._awaited for task in inst._tasks)
        for task in inst._tasks:
            self._tasks.pop(task._token, None)
            self._abandoned.discard(task._token)
        inst._tasks.clear()
        if lost or reason is not None:
            why = f"{inst} has ended: {reason or 'the connection was closed'}"
            error = ScamperInstError(f"{why}, {lost} results will not come" if lost else why, inst)
            if awaited:
                self._answer = error
            else:
                self._exceptions.append(error)
        if inst._queued == 0:
            self._call(self.eofcb, inst)


def _left(timeout: Optional[Span], until: Optional[datetime.datetime]) -> Callable[[], Optional[float]]:
    """How many seconds are left, each time it is asked; None for ever."""
    if timeout is not None and until is not None:
        raise ValueError("timeout and until exclude each other")
    if until is not None:
        if not isinstance(until, datetime.datetime):
            raise TypeError("until is no datetime")
        return lambda: (until - datetime.datetime.now(until.tzinfo)).total_seconds()
    if timeout is None:
        return lambda: None
    end = time.monotonic() + span(timeout).total_seconds()
    return lambda: end - time.monotonic()
