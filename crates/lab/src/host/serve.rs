//! The lab's side of its socket: a thread for each client.
//!
//! [`Desk`] answers for a lab of namespaces. A thread goes into the network of which a socket is asked, opens it there, and stays: from a user namespace there is
//! no way home, and no need for one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, accept_with, socket_with};

use super::message::{About, Ask, Family, Refusal, Reply, Request, SocketAsk, SocketKind, Told, VERSION};
use super::wire;
use crate::namespaces::Spaces;
use crate::namespaces::driver::{Order, Orders, Status};
use crate::plan::Plan;
use crate::sys::spaces;

/// The most clients at once; one more is refused.
const MOST_CLIENTS: usize = 64;
/// What one of these threads needs is little.
const STACK_BYTES: usize = 256 * 1024;

/// What clients are served with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) plan: Arc<Plan>,
    pub(super) spaces: Spaces,
    pub(super) orders: Orders,
    pub(super) about: About,
}

/// Who knows what clients ask.
pub(super) trait Answers: Send + Sync + 'static {
    /// Does what is asked, or says why not.
    fn answer(&self, ask: Ask) -> Result<(Reply, Vec<OwnedFd>), Refusal>;
}

/// Serves clients for ever.
pub(super) fn serve(listener: &OwnedFd, desk: &Arc<impl Answers>) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok(socket) = accept_with(listener, SocketFlags::CLOEXEC) else {
            // No descriptors are left, say: others give some back.
            std::thread::yield_now();
            continue;
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= MOST_CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            send(socket.as_fd(), &Reply::Refused(Refusal::Full), &[]);
            continue;
        }
        let (desk, count) = (desk.clone(), clients.clone());
        let thread = std::thread::Builder::new().name("client".into()).stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            talk(socket.as_fd(), &*desk);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn talk(socket: BorrowedFd<'_>, desk: &impl Answers) {
    let mut room = vec![0; MOST_REQUEST];
    loop {
        let (reply, descriptors) = match wire::receive(socket, &mut room) {
            Ok(Some((length, _))) => match done(desk, room.get(..length).unwrap_or_default()) {
                Ok(done) => done,
                Err(refusal) => (Reply::Refused(refusal), Vec::new()),
            },
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                (Reply::Refused(Refusal::Garbled("a message that long".into())), Vec::new())
            }
            Ok(None) | Err(_) => return,
        };
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        if !send(socket, &reply, &borrowed) {
            return;
        }
    }
}

/// Answers whether the other side is there.
fn send(socket: BorrowedFd<'_>, reply: &Reply, descriptors: &[BorrowedFd<'_>]) -> bool {
    let Ok(bytes) = serde_json::to_vec(reply) else { return false };
    wire::send(socket, &bytes, descriptors).is_ok()
}

/// The longest request, in octets.
const MOST_REQUEST: usize = 16 * 1024;

fn done(desk: &impl Answers, bytes: &[u8]) -> Result<(Reply, Vec<OwnedFd>), Refusal> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: u32,
    }
    let garbled = |error: serde_json::Error| Refusal::Garbled(error.to_string());
    // What another version says need not be understood to be refused.
    let head: Head = serde_json::from_slice(bytes).map_err(garbled)?;
    if head.version != VERSION {
        return Err(Refusal::Version(VERSION));
    }
    let request: Request = serde_json::from_slice(bytes).map_err(garbled)?;
    desk.answer(request.ask)
}

impl Answers for Desk {
    fn answer(&self, ask: Ask) -> Result<(Reply, Vec<OwnedFd>), Refusal> {
        let reply = match ask {
            Ask::About => Reply::About(self.about.clone()),
            Ask::Socket(ask) => return Ok((Reply::Here, vec![self.socket(&ask)?])),
            Ask::Network { vp } => return Ok((Reply::Here, self.network(&vp)?)),
            Ask::Status => {
                let (sender, answer) = sync_channel(1);
                self.order(Order::Status(sender))?;
                Reply::Status(with_drops_of_links(wait(&answer)?))
            }
            Ask::Truth(query) => {
                let (sender, answer) = sync_channel(1);
                self.order(Order::Truth(query, sender))?;
                Reply::Truth(fitting(wait(&answer)?.map_err(Refusal::NoVp)?))
            }
            Ask::End => {
                self.order(Order::End)?;
                Reply::Here
            }
        };
        Ok((reply, Vec::new()))
    }
}

impl Desk {
    fn order(&self, order: Order) -> Result<(), Refusal> {
        self.orders.send(order).map_err(|_| Refusal::Ending)
    }

    fn network_of(&self, name: &str) -> Result<&OwnedFd, Refusal> {
        let vp = self.plan.vp(name).map(|vp| &self.spaces.vps[vp]);
        vp.ok_or_else(|| Refusal::NoVp(name.to_owned()))
    }

    fn network(&self, name: &str) -> Result<Vec<OwnedFd>, Refusal> {
        let copy = |descriptor: &OwnedFd| descriptor.try_clone().map_err(refused("a copy of a descriptor"));
        let mut all = vec![copy(self.network_of(name)?)?];
        if let Some(user) = &self.spaces.user {
            all.push(copy(user)?);
        }
        Ok(all)
    }

    fn socket(&self, ask: &SocketAsk) -> Result<OwnedFd, Refusal> {
        let network = self.network_of(&ask.vp)?;
        spaces::enter_network(network).map_err(refused("its network"))?;
        let family = match ask.family {
            Family::Inet => AddressFamily::INET,
            Family::Inet6 => AddressFamily::INET6,
            Family::Packet => AddressFamily::PACKET,
        };
        let kind = match ask.kind {
            SocketKind::Stream => SocketType::STREAM,
            SocketKind::Datagram => SocketType::DGRAM,
            SocketKind::Raw => SocketType::RAW,
        };
        let number = if ask.family == Family::Packet { ask.protocol.to_be() } else { ask.protocol };
        let protocol = std::num::NonZeroU32::new(number.into()).map(Protocol::from_raw);
        socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
            .map_err(|errno| refused("a socket")(errno.into()))
    }
}

/// Counts what the system dropped between the lab's packet socket and the networks: its queue was full. The links of the
/// world's network are those of the process as a whole.
fn with_drops_of_links(mut status: Status) -> Status {
    let links = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let dropped = transmit_drops(&links);
    status.dropped_out += dropped;
    status.exact &= dropped == 0;
    status
}

/// The sum of a column of `/proc/net/dev` (`proc_pid_net(5)`): the fourth of those about what was sent.
fn transmit_drops(links: &str) -> u64 {
    let fields = links.lines().filter_map(|line| line.split_once(':'));
    fields.filter_map(|(_, fields)| fields.split_whitespace().nth(11)?.parse::<u64>().ok()).sum()
}

fn wait<T>(answer: &Receiver<T>) -> Result<T, Refusal> {
    answer.recv().map_err(|_| Refusal::Ending)
}

fn refused(what: &'static str) -> impl FnOnce(std::io::Error) -> Refusal {
    move |error| Refusal::System { what: what.to_owned(), errno: error.raw_os_error().unwrap_or(0) }
}

/// As many of the newest as a message holds.
pub(super) fn fitting(mut packets: Vec<crate::namespaces::Found>) -> Told {
    let mut room = wire::MOST_BYTES - 1_024;
    let fits = packets.iter().rev().take_while(|found| {
        let bytes = serde_json::to_vec(found).map_or(usize::MAX, |bytes| bytes.len() + 1);
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    let kept = fits.count();
    let left_out = packets.len() - kept;
    packets.drain(..left_out);
    Told { packets, cut: left_out > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_summed_over_links() {
        let links = "Inter-|   Receive                |  Transmit\n face |bytes packets errs drop\n\
            \x20   lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  vp0: 1 2 3 4 5 6 7 8 9 10 11 30 13 14 15 16\n";
        assert_eq!(transmit_drops(links), 42);
        assert_eq!(transmit_drops("nothing: x"), 0);
    }
}
