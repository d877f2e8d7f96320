//! A lab in network namespaces: `mmn lab run`, and sockets at its vantage points.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context;
use mmn_lab::host::Client;
use mmn_lab::host::message::{Family, SocketAsk, SocketKind};
use mmn_lab::namespaces::driver::Status;
use mmn_probe::wire::checksum;
use rustix::net::{RecvFlags, SendFlags, recv, sendto};

use crate::lines::Bench;
use crate::started::{Dir, Started};
use crate::{clock, processes};

pub(super) const VPS: usize = 24;
const ROUTERS: usize = 8;
const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 16, 1);
/// An IPv4 header in octets.
const HEADER: usize = 20;

/// A lab of 24 vantage points, eight routers and a host.
#[derive(Debug)]
pub(super) struct Lab {
    child: Started,
    client: Client,
    /// A raw socket at each vantage point.
    pub(super) sockets: Vec<OwnedFd>,
    request: Vec<u8>,
    processors: usize,
    _dir: Dir,
}

/// How a lab is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// One way from the last router to the host, in tenths of milliseconds; to the first router it is a tenth.
    pub(super) tenths: u32,
    /// Whether it never sleeps.
    pub(super) busy: bool,
}

impl Lab {
    /// Starts one, and keeps it on the last processor: this program is on the first.
    pub(super) fn start(bench: &Bench, how: How) -> anyhow::Result<Self> {
        let dir = Dir::new()?;
        let file = dir.path().join("lab.toml");
        std::fs::write(&file, text(how.tenths)?)?;
        let at = dir.path().join("lab");
        let mut words: Vec<&OsStr> = ["lab", "run", "--dir"].map(OsStr::new).to_vec();
        words.extend([at.as_os_str(), file.as_os_str()]);
        words.extend(how.busy.then_some(OsStr::new("--busy")));
        let child = Started::mmn(&bench.mmn, &words)?;
        let begin = clock::now();
        let mut client = loop {
            if let Ok(client) = Client::connect(&at) {
                break client;
            }
            let there = !child.has_ended() && clock::now() - begin < Duration::from_secs(20);
            anyhow::ensure!(there, "`mmn lab run` does not run: `mmn doctor` says what is in the way");
            std::thread::sleep(Duration::from_millis(5));
        };
        let processors = std::thread::available_parallelism()?.get();
        processes::pin(child.pid(), u32::try_from(processors)? - 1)?;
        processes::pin(std::process::id(), 0)?;
        let mut sockets = Vec::new();
        for vp in 1..=VPS {
            let (family, kind) = (Family::Inet, SocketKind::Raw);
            let socket = client.socket(&SocketAsk { vp: format!("vp{vp}"), family, kind, protocol: 1 })?;
            rustix::io::ioctl_fionbio(&socket, true)?;
            sockets.push(socket);
        }
        Ok(Self { child, client, sockets, request: request(), processors, _dir: dir })
    }

    /// Sends an echo request of 64 octets from a vantage point. Whether it left.
    pub(super) fn send(&self, socket: &OwnedFd) -> bool {
        sendto(socket, &self.request, SendFlags::empty(), &SocketAddrV4::new(HOST, 0)).is_ok()
    }

    /// Takes a packet that has come to a vantage point. Whether there was one.
    pub(super) fn receive(socket: &OwnedFd, room: &mut [u8]) -> bool {
        recv(socket, room, RecvFlags::DONTWAIT).is_ok()
    }

    /// How it is doing.
    pub(super) fn status(&mut self) -> anyhow::Result<Status> {
        self.client.status().context("the lab's status")
    }

    /// Seconds of processor time so far.
    pub(super) fn cpu_s(&self) -> f64 {
        processes::cpu_s(&[self.child.pid()])
    }

    /// Ends it.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.client.end().context("the end of the lab")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What other lines start would stay where this program is.
        let _ = processes::unpin(std::process::id(), self.processors);
    }
}

fn text(tenths: u32) -> anyhow::Result<String> {
    let mut text = String::new();
    for router in 1..=ROUTERS {
        writeln!(text, "[[router]]\nname = \"r{router}\"\naddr = \"198.19.0.{router}\"")?;
    }
    for router in 1..ROUTERS {
        writeln!(text, "[[link]]\na = \"r{router}\"\nb = \"r{}\"\ndelay_ms = 0", router + 1)?;
    }
    for vp in 1..=VPS {
        writeln!(text, "[[vp]]\nname = \"vp{vp}\"\naddr = \"198.18.0.{vp}\"\nat = \"r1\"\ndelay_ms = 0.1")?;
    }
    let (whole, tenth) = (tenths / 10, tenths % 10);
    writeln!(
        text,
        "[[host]]\nname = \"host\"\naddr = \"{HOST}\"\nat = \"r{ROUTERS}\"\ndelay_ms = {whole}.{tenth}"
    )?;
    Ok(text)
}

/// An echo request that is 64 octets long with its IP header.
fn request() -> Vec<u8> {
    let mut request = vec![0; 64 - HEADER];
    if let Some(kind) = request.first_mut() {
        *kind = 8;
    }
    let sum = checksum::of(&request).to_be_bytes();
    if let Some(place) = request.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    request
}
