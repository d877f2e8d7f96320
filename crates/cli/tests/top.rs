//! `mmn top` on a terminal: what is seen of a real network, how it bears that the network goes away, and that it gives the
//! terminal back however it ends.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

const MMN: &str = env!("CARGO_BIN_EXE_mmn");
/// How long anything may take before the test is given up.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// A running `mmn up`.
struct Up(Child);

impl Up {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(MMN);
        command.args(["up", "--listen", "127.0.0.1:0", "--name", "berlin", "--data"]).arg(data);
        command.env_remove("MMN_DATA").env_remove("MMN_NATS_URL");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("try ")), "it ended");
        Self(child)
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `mmn top` on a terminal of its own.
struct Top {
    child: Child,
    /// Where the keys go and the picture comes from.
    ours: File,
    /// The terminal itself.
    theirs: OwnedFd,
    before: LocalModes,
    picture: vt100::Parser,
}

impl Top {
    fn start(data: &Path, args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        tcsetwinsize(&ours, size(100, 30)).unwrap();
        let before = tcgetattr(&theirs).unwrap().local_modes;
        let stdio = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = Command::new(MMN);
        command.arg("top").args(args).env("MMN_DATA", data).env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR").env_remove("MMN_API");
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let picture = vt100::Parser::new(30.try_into().unwrap(), 100.try_into().unwrap(), 0);
        Self { child, ours: ours.into(), theirs, before, picture }
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.ours, size(columns, rows)).unwrap();
        self.picture.screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        // It is sent to who has the terminal as its own; here nobody has.
        kill_process(Pid::from_child(&self.child), Signal::WINCH).unwrap();
    }

    /// Reads until the picture has all of this.
    fn sees(&mut self, wanted: &[&str]) -> String {
        let patience = patience();
        loop {
            let text = self.picture.screen().contents();
            if wanted.iter().all(|wanted| text.contains(wanted)) {
                return text;
            }
            let mut either = [PollFd::new(&patience, PollFlags::IN), PollFd::new(&self.ours, PollFlags::IN)];
            poll(&mut either, None).unwrap();
            let [over, _] = either.map(|one| one.revents().contains(PollFlags::IN));
            assert!(!over, "{wanted:?} never came:\n{text}");
            self.read();
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let count = self.ours.read(&mut bytes).unwrap();
        self.picture.process(bytes.get(..count).unwrap());
    }

    /// Waits for its end, and looks at what it leaves.
    fn ended(mut self) -> ExitStatus {
        let handle = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        let patience = patience();
        loop {
            let fds = [handle.as_fd(), self.ours.as_fd(), patience.as_fd()];
            let mut any = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            poll(&mut any, None).unwrap();
            let [over, more, late] = any.map(|one| one.revents().contains(PollFlags::IN));
            assert!(!late, "it does not end");
            if more {
                self.read();
            } else if over {
                break;
            }
        }
        let screen = self.picture.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{}", screen.contents());
        assert_eq!(tcgetattr(&self.theirs).unwrap().local_modes, self.before);
        self.child.wait().unwrap()
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes readable when it has taken too long.
fn patience() -> OwnedFd {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: PATIENCE };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).unwrap();
    timer
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

#[test]
fn a_network_is_seen_lost_and_seen_again() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path());
    let ping = ["ping", "127.0.0.1", "--count", "3", "--interval", "10ms", "--label", "from the test"];
    let pinged = Command::new(MMN).args(ping).env("MMN_DATA", data.path()).output().unwrap();
    assert!(pinged.status.success(), "{pinged:?}");

    let mut top = Top::start(data.path(), &["--interval", "200ms"]);
    top.sees(&["[1 Overview]", "● live", "VPs       1", "● 1 healthy", "1 accepted = █ 1 ok"]);
    assert!(top.picture.screen().alternate_screen());
    top.press("2/name:berl");
    top.sees(&["[2 VPs]", "/name:berl", "0 of 1", "nothing matches"]);
    top.press("in\r");
    top.sees(&["/name:berlin", "1 of 1", "› berlin", "● healthy"]);
    top.press("3/dns\r");
    top.sees(&["1 of", "› dns"]);
    top.press("\r");
    top.sees(&["evidence", "out, credits", "its VP"]);
    top.press("4");
    top.sees(&["ping #1", "● done", "from the test"]);
    top.press("\r");
    top.sees(&["■ complete", "1 accepted = █ 1 ok", "median round trip", "› 127.0.0.1", "berlin"]);
    top.resize(40, 10);
    top.sees(&["[4Msms]", "ping #1", "1 results"]);
    top.resize(100, 30);
    top.press("\r");
    top.sees(&["answered", "yes", "rtt_median_ns"]);

    // A measurement that is made meanwhile is told.
    top.press("1");
    let pinged = Command::new(MMN).args(ping).env("MMN_DATA", data.path()).output().unwrap();
    assert!(pinged.status.success(), "{pinged:?}");
    top.sees(&["[1 Overview]", "measurement-done", "2 accepted = █ 2 ok"]);

    up.stop();
    top.sees(&["✕ cut off", "it is tried again"]);
    // It comes back elsewhere: on another port.
    let up = Up::start(data.path());
    top.sees(&["● live", "connected again; what happened meanwhile was not told"]);
    top.press("4");
    top.sees(&["ping #2", "ping #1"]);
    top.press("q");
    assert_eq!(top.ended().code(), Some(0));

    for signal in [Signal::TERM, Signal::HUP] {
        let mut top = Top::start(data.path(), &["last"]);
        top.sees(&["ping #2", "■ complete"]);
        kill_process(Pid::from_child(&top.child), signal).unwrap();
        assert_eq!(top.ended().code(), Some(0), "{signal:?}");
    }
    let mut top = Top::start(data.path(), &[]);
    top.sees(&["● live"]);
    top.press("\u{3}");
    assert_eq!(top.ended().code(), Some(0));
    up.stop();
}

#[test]
fn without_a_terminal_or_a_network_it_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(MMN).arg("top").env("MMN_DATA", data.path()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("draws on a terminal") && text.contains("hint:") && text.contains("`mmn vps`"),
        "{text}"
    );

    let mut top = Top::start(data.path(), &[]);
    let text = top.sees(&["error:", "hint:", "`mmn up` starts it"]);
    assert!(text.contains("no mmn is running"), "{text}");
    assert_eq!(top.ended().code(), Some(1));
}
