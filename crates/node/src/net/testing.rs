//! What the tests of this module share: threads in network namespaces of their own, and without privileges.
//!
//! On Linux both are properties of a thread, so a test needs no helper process for them. Links are made by
//! `ip` of Debian's iproute2. A test without the privilege it needs fails by name.

use std::{net::UdpSocket, os::fd::AsFd, process::Command, sync::mpsc, thread::JoinHandle};

use rustix::{
    process::{Gid, Uid, getuid},
    thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{control, stamps, sys};

/// Fails the test unless it runs as root.
#[track_caller]
pub(super) fn require_root(test: &str) {
    assert!(getuid().is_root(), "{test} needs root: it opens raw sockets or makes network namespaces");
}

/// Runs `work` on a thread in a new network namespace whose loopback is up.
pub(super) fn in_namespace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        enter_namespace();
        work()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves the calling thread into a new network namespace and brings its loopback up.
pub(super) fn enter_namespace() {
    unshare_network().expect("a network namespace needs CAP_SYS_ADMIN");
    ip("link set lo up");
}

/// Runs `work` on a thread of the user and group *nobody*, in the caller's namespace.
pub(super) fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Lets everybody open ping sockets in the calling thread's namespace.
pub(super) fn open_ping_group_range() {
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
}

/// Waits until the kernel stamps what it receives, and keeps it so until the value is dropped.
///
/// The first socket that asks for stamps makes the kernel turn them on a moment later; a packet within that
/// moment has none.
pub(super) fn kernel_stamps() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    stamps::request(socket.as_fd(), false).unwrap();
    loop {
        socket.send(&[0]).unwrap();
        let (mut data, mut control) = ([0], [0; 128]);
        let lengths = sys::receive(socket.as_fd(), 0, &mut data, &mut control).unwrap();
        if control::decode(&control[..lengths.control]).stamp.is_some() {
            return socket;
        }
        std::thread::yield_now();
    }
}

/// Runs `ip` (Debian's iproute2) with these arguments in the calling thread's namespace.
#[track_caller]
pub(super) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip, of iproute2");
    assert!(status.success(), "ip {arguments}");
}

#[expect(unsafe_code, reason = "a namespace of a thread's own")]
fn unshare_network() -> rustix::io::Result<()> {
    // SAFETY: a network namespace takes nothing from the memory or descriptors that threads share.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// A second namespace, next to the calling thread's: a router at 10.77.0.2 and `2001:db8:77::2` that has the
/// route to 192.0.2.0/24 and `2001:db8:2::/48` marked unreachable. It is there until the value is dropped.
pub(super) fn router() -> Router {
    let (ready, is_ready) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let (over, is_over) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        enter_namespace();
        ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        may_go_on.recv().unwrap();
        ip("addr add 10.77.0.2/24 dev vb");
        ip("-6 addr add 2001:db8:77::2/64 dev vb nodad");
        ip("link set vb up");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        // A rate of none would take from those that other limits share.
        std::fs::write("/proc/sys/net/ipv4/icmp_ratemask", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0").unwrap();
        ip("route add unreachable 192.0.2.0/24");
        ip("route add 198.51.100.0/24 via 10.77.0.1");
        ip("-6 route add unreachable 2001:db8:2::/48");
        ip("-6 route add 2001:db8:5::/48 via 2001:db8:77::1");
        ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        // Ends when the other side is dropped.
        let _ = is_over.recv();
    });
    let id = is_ready.recv().expect("the router's namespace");
    ip("link add va type veth peer name vb");
    ip(&format!("link set vb netns {id}"));
    ip("addr add 10.77.0.1/24 dev va");
    ip("-6 addr add 2001:db8:77::1/64 dev va nodad");
    ip("link set va up");
    go_on.send(()).expect("the router's namespace");
    is_ready.recv().expect("the router's routes");
    ip("route add default via 10.77.0.2");
    ip("-6 route add default via 2001:db8:77::2");
    Router { over: Some(over), thread: Some(thread) }
}

/// Keeps a router's namespace alive.
pub(super) struct Router {
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
