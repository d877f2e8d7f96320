"""Controls, against servers that say what a script says."""

import datetime
import gc
import os
import pathlib
import signal
import threading
import weakref

import pytest
from scamper import (
    ScamperCtrl,
    ScamperCycle,
    ScamperFile,
    ScamperInst,
    ScamperInstError,
    ScamperList,
    ScamperPing,
    ScamperTask,
    ScamperVp,
)
from scripted import (
    CYCLE,
    GO,
    GREETING,
    LIST,
    PINGS,
    Peer,
    Server,
    answering,
    data,
    departs,
    frame,
    opened,
    vp,
)

AMS = vp(
    3,
    (1, "ams-nl.example"),
    (3, "192.0.2.1"),
    (4, "64500"),
    (5, "nl"),
    (7, "Amsterdam"),
    (8, "52.37,4.90"),
    (9, "ams-nl"),
    (10, "eyeball"),
    (10, "ipv6"),
    (11, "ams"),
    (12, "2001:db8::1"),
    (13, "64500_64501"),
    (99, "of a later version"),
)
LAX = vp(7, (1, "lax-us.example"), (5, "us"), (6, "ca"))


def taken(control: ScamperCtrl[None]) -> list[object]:
    return list(control.responses())


def test_a_control_socket_is_attached_to_and_asked(tmp_path: pathlib.Path) -> None:
    def serve(peer: Peer) -> None:
        peer.expect(b"attach\n")
        peer.say(b"OK\n" + GREETING)
        peer.expect(b"ping -c 1 192.0.2.1\n")
        peer.say(b"OK id-1\nMORE\n" + data(PINGS[0], 1))
        peer.expect(b"done\n")
        peer.say(b"OK\n")

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](unix=server.path)
        ping = control.do_ping("192.0.2.1", attempts=1, sync=True)
        assert isinstance(ping, ScamperPing) and str(ping.dst) == "10.9.0.4"
        (inst,) = control.instances()
        assert ping.inst is inst and inst.name == server.path and str(inst) == server.path
        assert ping.list is not None and ping.list.name == "default"
        assert ping.cycle is not None and ping.cycle.hostname == "vm"
        assert (control.instc, control.taskc, inst.taskc) == (1, 0, 0)
        control.done()
        assert inst.is_done() and not inst.is_eof()
        assert control.poll() is None and control.is_done() and inst.is_eof() and control.instc == 0


def test_daemons_of_old_do_not_number_their_records(tmp_path: pathlib.Path) -> None:
    def serve(peer: Peer) -> None:
        peer.expect(b"attach\n")
        peer.say(b"OK\n" + GREETING)
        peer.expect(b"ping 192.0.2.1\nping 192.0.2.2\n")
        peer.say(b"OK id-1\nOK id-2\nMORE\n" + data(PINGS[0]) + data(PINGS[1]))
        peer.expect(b"ping 192.0.2.3\n")
        peer.say(b"OK id-3\n" + data(PINGS[2]))

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](unix=server.path)
        control.do_ping("192.0.2.1")
        control.do_ping("192.0.2.2")
        assert len(taken(control)) == 2 and control.taskc == 0
        assert isinstance(control.do_ping("192.0.2.3", sync=True), ScamperPing)


def test_a_connection_over_tcp(tmp_path: pathlib.Path) -> None:
    asked: list[str] = []
    with Server(tmp_path, answering(asked), tcp=True) as server:
        control = ScamperCtrl[None]()
        inst = control.add_inet(server.port)
        assert inst.name == f"127.0.0.1:{server.port}"
        assert isinstance(control.do_ping("192.0.2.1", inst=inst, sync=True), ScamperPing)
        control.done()
        control.poll()


@pytest.mark.parametrize("at_a_time", [1, 7, None])
def test_a_mux_tells_of_vantage_points(tmp_path: pathlib.Path, at_a_time: int | None) -> None:
    def serve(peer: Peer) -> None:
        peer.say(AMS + LAX + GO, at_a_time)
        peer.expect(opened(3, 1))
        peer.say(frame(1, GREETING[:20]) + frame(1, GREETING[20:]), at_a_time)
        peer.expect(opened(7, 2))
        line = b"ping 192.0.2.1\n"
        peer.expect(frame(1, line) + frame(2, line))
        peer.say(frame(2, GREETING + b"OK id-1\n") + frame(1, b"OK id-1\n"), at_a_time)
        peer.say(frame(1, data(PINGS[1], 1)) + frame(2, data(PINGS[2], 1)), at_a_time)
        peer.ends()

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](mux=server.path)
        ams, lax = control.vps()
        assert isinstance(ams, ScamperVp) and str(ams) == ams.name == "ams-nl.example"
        assert (ams.shortname, ams.cc, ams.st, ams.place, ams.iata) == ("ams-nl", "NL", None, "Amsterdam", "AMS")
        assert (ams.ipv4, ams.asn4, ams.ipv6, ams.asn6) == ("192.0.2.1", 64500, "2001:db8::1", "64500_64501")
        assert ams.loc == (52.37, 4.9) and ams.tags == {"eyeball", "ipv6"}
        assert (lax.shortname, lax.cc, lax.st, lax.loc, lax.tags) == ("lax-us.example", "US", "CA", None, set())
        assert ams != lax and ams in {ams, lax} and control.vps()[0] == ams
        insts = control.add_vps([ams, lax])
        assert [inst.name for inst in insts] == ["ams-nl.example", "lax-us.example"]
        assert insts[0].cc == "NL" and insts[0].loc == ams.loc and sorted(insts)[0] == insts[0]
        tasks = control.do_ping("192.0.2.1", inst=insts)
        assert isinstance(tasks, list) and all(isinstance(task, ScamperTask) for task in tasks)
        assert control.taskc == 2 and str(tasks[0]) == "ping 192.0.2.1"
        found = {ping.inst.name: str(ping.dst) for ping in taken(control) if isinstance(ping, ScamperPing) and ping.inst}
        assert found == {"ams-nl.example": "10.9.0.5", "lax-us.example": "10.9.0.1"}
        del control, insts, tasks, ams, lax
        gc.collect()


def test_a_vantage_point_that_departs_ends(tmp_path: pathlib.Path) -> None:
    go_on = threading.Event()

    def serve(peer: Peer) -> None:
        peer.say(AMS + LAX + GO)
        peer.expect(opened(3, 1) + frame(1, b"ping 192.0.2.1\n"))
        peer.say(frame(1, GREETING + b"OK id-1\n") + departs(3))
        assert go_on.wait(20)

    ended: list[str | None] = []
    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](mux=server.path, eofcb=lambda control, inst, param: ended.append(inst.name))
        ams, lax = control.vps()
        (inst,) = control.add_vps(ams)
        with pytest.raises(ScamperInstError, match="the vantage point is gone, 1 results will not come") as failed:
            control.do_ping("192.0.2.1", sync=True)
        assert failed.value.inst is inst and inst.is_eof() and ended == ["ams-nl.example"]
        assert control.vps() == [lax] and control.add_vps([ams]) == [] and control.taskc == 0
        with pytest.raises(RuntimeError, match="has ended"):
            control.do_ping("192.0.2.1", inst=inst)
        go_on.set()


def test_what_is_refused_is_said(tmp_path: pathlib.Path) -> None:
    def serve(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"owamp -d tx 192.0.2.1\n")
        peer.say(b"ERR command not accepted: this vantage point has no owamp\n")
        peer.expect(b"dealias -m mercator 192.0.2.1\n")
        peer.say(b"ERR command not accepted\n")
        peer.expect(b"ping 192.0.2.1\nping 192.0.2.2\n")
        peer.say(b"ERR command not accepted\nOK id-1\n" + data(PINGS[0], 1))
        peer.ends()

    with Server(tmp_path / "ams-192.0.2.1:5", serve) as server:
        control = ScamperCtrl[None](remote=server.path)
        (inst,) = control.instances()
        assert inst.name == "ams"
        with pytest.raises(ScamperInstError, match="got err from ams for owamp: .* has no owamp"):
            control.do_owamp("192.0.2.1", "tx", sync=True)
        with pytest.raises(ScamperInstError, match="for mercator: command not accepted") as failed:
            control.do_mercator("192.0.2.1", sync=True)
        assert failed.value.inst is inst
        control.do_ping("192.0.2.1")
        control.do_ping("192.0.2.2")
        assert len(taken(control)) == 1 and control.taskc == 0
        (wrong,) = control.exceptions()
        assert isinstance(wrong, ScamperInstError) and "for ping" in str(wrong)
        assert list(control.exceptions()) == []
        del control, failed, wrong, inst
        gc.collect()


def test_poll_raises_what_went_wrong(tmp_path: pathlib.Path) -> None:
    def serve(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"ping 192.0.2.1\n")
        peer.say(b"ERR command not accepted\n")
        peer.expect(b"done\n")

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](remote=server.path)
        control.do_ping("192.0.2.1")
        with pytest.raises(ScamperInstError):
            control.poll()
        control.done()
        assert control.poll() is None


def test_callbacks_feed_and_are_told_of_the_end(tmp_path: pathlib.Path) -> None:
    asked: list[str] = []
    targets = [f"192.0.2.{last}" for last in range(1, 40)]

    def more(control: ScamperCtrl[list[str]], inst: ScamperInst, param: list[str]) -> None:
        if param:
            control.do_ping(param.pop(0), inst=inst)
        elif not inst.is_done():
            inst.done()

    ended: list[int] = []
    with Server(tmp_path / "sock", answering(asked, greet=True)) as server:
        control = ScamperCtrl[list[str]](remote=server.path, morecb=more, param=list(targets))
        control.eofcb = lambda control, inst, param: ended.append(inst.resultc)
        results = []
        while not control.is_done():
            if (result := control.poll(timeout=20)) is not None:
                results.append(result)
        assert asked == [f"ping {target}" for target in targets] and len(results) == len(targets)
        assert ended == [0] and control.param == []


def test_what_a_callback_raises_is_kept(tmp_path: pathlib.Path) -> None:
    def more(control: ScamperCtrl[None], inst: ScamperInst, param: None) -> None:
        raise KeyError("mine")

    with Server(tmp_path / "sock", answering([], greet=True)) as server:
        control = ScamperCtrl[None](remote=server.path, morecb=more)
        with pytest.raises(KeyError, match="mine"):
            control.poll()
        control.morecb = None
        control.done()
        assert control.poll() is None


def test_lists_and_cycles_come_when_they_are_wanted(tmp_path: pathlib.Path) -> None:
    with Server(tmp_path / "sock", answering([])) as server:
        control = ScamperCtrl[None](unix=server.path, meta=True)
        control.do_ping("192.0.2.1")
        assert [type(one) for one in taken(control)] == [ScamperList, ScamperCycle, ScamperPing]
        control.done()
        control.poll()


def test_results_are_written_too(tmp_path: pathlib.Path) -> None:
    with ScamperFile(str(tmp_path / "out.warts"), "w") as outfile:
        with Server(tmp_path / "sock", answering([])) as server:
            control = ScamperCtrl[None](unix=server.path, outfile=outfile)
            for last in range(3):
                control.do_ping(f"192.0.2.{last}")
            assert len(taken(control)) == 3
            control.done()
            control.poll()
    with ScamperFile(str(tmp_path / "out.warts")) as file:
        kinds = [type(one) for one in file]
    assert kinds == [ScamperList, ScamperCycle, *[ScamperPing] * 3]
    with pytest.raises(RuntimeError):
        ScamperCtrl[None](outfile=ScamperFile(str(tmp_path / "out.warts")))
    with pytest.raises(ValueError):
        ScamperCtrl[None](outfile="out.warts")  # type: ignore[arg-type]


def test_a_measurement_is_called_off(tmp_path: pathlib.Path) -> None:
    def serve(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"ping -c 1000 192.0.2.1\n")
        peer.say(b"OK id-1\nMORE\n")
        peer.expect(b"halt 1\n")
        peer.say(b"OK halted 1\n" + data(PINGS[0], 1))
        peer.ends()

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](remote=server.path)
        task = control.do_ping("192.0.2.1", attempts=1000)
        assert isinstance(task, ScamperTask)
        # Before it has a number: it is halted when it gets one.
        task.halt()
        assert len(taken(control)) == 1
        task.halt()
        del control, task
        gc.collect()


def test_time_runs_out(tmp_path: pathlib.Path) -> None:
    go_on = threading.Event()

    def serve(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"ping 192.0.2.1\n")
        assert go_on.wait(20)

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](remote=server.path)
        control.do_ping("192.0.2.1")
        assert control.poll(timeout=0) is None
        assert control.poll(timeout=datetime.timedelta(milliseconds=1)) is None
        assert control.poll(until=datetime.datetime.now(datetime.timezone.utc)) is None
        assert list(control.responses(until=datetime.datetime.now())) == [] and control.taskc == 1
        with pytest.raises(ValueError):
            control.poll(timeout=1, until=datetime.datetime.now())
        with pytest.raises(TypeError):
            control.poll(until=5)  # type: ignore[arg-type]
        go_on.set()


def test_a_connection_that_breaks_is_said_to(tmp_path: pathlib.Path) -> None:
    def breaks(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"ping 192.0.2.1\n")
        peer.say(b"OK id-1\nDATA 5")

    def nonsense(peer: Peer) -> None:
        peer.say(b"220 ready\r\n")

    def turned_down(peer: Peer) -> None:
        peer.expect(b"attach\n")
        peer.say(b"ERR no more room\n")

    with Server(tmp_path / "sock", breaks, nonsense, turned_down) as server:
        control = ScamperCtrl[None](remote=server.path)
        with pytest.raises(ScamperInstError, match="the connection was closed, 1 results will not come"):
            control.do_ping("192.0.2.1", sync=True)
        control.add_remote(server.path)
        with pytest.raises(ScamperInstError, match="is no answer"):
            control.poll()
        control.add_unix(server.path)
        with pytest.raises(ScamperInstError, match="no more room"):
            control.poll()
        assert control.is_done()


def test_a_mux_that_goes_before_it_has_told(tmp_path: pathlib.Path) -> None:
    with Server(tmp_path / "sock", lambda peer: peer.say(AMS)) as server:
        with pytest.raises(RuntimeError, match="closed the connection"):
            ScamperCtrl[None](mux=server.path)
    with pytest.raises(RuntimeError, match="could not connect to"):
        ScamperCtrl[None](mux=str(tmp_path / "none"))


def test_a_folder_of_sockets(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "notes.txt").write_text("no socket")
    with Server(folder / "a-192.0.2.1:5", answering([], greet=True)) as one:
        with Server(folder / "b-192.0.2.2:6", answering([], greet=True)) as other:
            control = ScamperCtrl[None](remote_dir=str(folder))
            assert [inst.name for inst in control.instances()] == ["a", "b"]
            with pytest.raises(RuntimeError, match="several instances"):
                control.do_ping("192.0.2.1")
            with pytest.raises(RuntimeError, match="of one instance"):
                control.do_ping("192.0.2.1", inst=control.instances(), sync=True)
            with pytest.raises(RuntimeError, match="ally is done by one instance"):
                control.do_ally("192.0.2.1", "192.0.2.2", inst=control.instances())  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                control.do_ping("192.0.2.1", inst="a")  # type: ignore[arg-type]
            a, b = control.instances()
            control.do_ping("192.0.2.1", inst={a, b})
            assert len(taken(control)) == 2
            control.remove(a)
            assert control.instances() == [b]
            with pytest.raises(ValueError):
                control.remove(a)
            with pytest.raises(RuntimeError, match="was removed"):
                control.do_ping("192.0.2.1", inst=a)
            control.done()
            assert control.poll() is None
            assert one.path != other.path


def test_other_threads_run_while_it_waits(tmp_path: pathlib.Path) -> None:
    ran = threading.Event()

    def serve(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"ping 192.0.2.1\n")
        # Only who runs can set it, and the control waits by now or will.
        assert ran.wait(20)
        peer.say(b"OK id-1\n" + data(PINGS[0], 1))

    with Server(tmp_path / "sock", serve) as server:
        control = ScamperCtrl[None](remote=server.path)
        threading.Thread(target=ran.set).start()
        assert isinstance(control.do_ping("192.0.2.1", sync=True), ScamperPing)


def test_a_signal_ends_the_waiting(tmp_path: pathlib.Path) -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    def serve(peer: Peer) -> None:
        peer.say(GREETING)
        peer.expect(b"ping 192.0.2.1\n")
        peer.say(b"OK id-1\n")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        # Which is first depends on whether the number has been read by then.
        lines = iter(peer.lines())
        answers = {"halt 1": b"OK halted 1\n" + data(PINGS[0], 1), "ping 192.0.2.2": b"OK id-2\n" + data(PINGS[1], 2)}
        for _ in range(2):
            peer.say(answers.pop(next(lines)))

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with Server(tmp_path / "sock", serve) as server:
            control = ScamperCtrl[None](remote=server.path)
            with pytest.raises(Interrupt):
                control.do_ping("192.0.2.1", sync=True)
            # What nobody waits for any more is dropped.
            ping = control.do_ping("192.0.2.2", sync=True)
            assert isinstance(ping, ScamperPing) and str(ping.dst) == "10.9.0.5" and taken(control) == []
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_child_process_is_told_to_make_its_own(tmp_path: pathlib.Path) -> None:
    with Server(tmp_path / "sock", answering([], greet=True)) as server:
        control = ScamperCtrl[None](remote=server.path)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                control.do_ping("192.0.2.1")
            except RuntimeError as error:
                os.write(writer, str(error).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        assert b"child of the process that made it" in os.read(reader, 1000)
        os.close(reader)
        control.done()
        control.poll()


def test_a_control_that_nobody_holds_is_closed(tmp_path: pathlib.Path) -> None:
    with Server(tmp_path / "sock", lambda peer: peer.ends()) as server:
        control = ScamperCtrl[None](remote=server.path)
        gone = weakref.ref(control)
        del control
        gc.collect()
        assert gone() is None


def test_records_of_the_connection_need_no_command() -> None:
    assert GREETING == b"MORE\n" + data(LIST) + data(CYCLE)
