//! Fragments of IPv4 packets (RFC 791, sections 2.3 and 3.2): cutting and putting together.

use std::net::Ipv4Addr;

use mmn_probe::time::{Instant, Nanos};
use mmn_probe::wire::ipv4;

use super::head::{Head, settle};
use crate::truth::PacketId;

/// Cuts a packet into fragments of at most `mtu` octets; nothing where they would have no room.
pub(super) fn cut(bytes: &[u8], head: &Head, mtu: usize) -> Option<Vec<Vec<u8>>> {
    let payload = bytes.get(head.above..head.total)?;
    let room = mtu.checked_sub(head.above)? / 8 * 8;
    if room == 0 || !head.is_v4() {
        return None;
    }
    let pieces = payload.len().div_ceil(room);
    let mut fragments = Vec::with_capacity(pieces);
    for (number, piece) in payload.chunks(room).enumerate() {
        let last = number + 1 == pieces;
        // Options stay with the first piece: none of those that a lab sends is to be copied.
        let header = bytes.get(..if number == 0 { head.above } else { ipv4::HEADER_BYTES })?;
        let mut fragment = [header, piece].concat();
        let offset = usize::from(head.offset) + number * room / 8;
        let flags = u16::try_from(offset).ok().filter(|offset| *offset < 0x2000)?;
        let flags = flags | if last && !head.more { 0 } else { 0x2000 };
        rewrite(&mut fragment, header.len(), flags)?;
        fragments.push(fragment);
    }
    Some(fragments)
}

/// Gives a header its length, flags, offset and checksum.
fn rewrite(packet: &mut [u8], header: usize, flags: u16) -> Option<()> {
    let total = u16::try_from(packet.len()).ok()?;
    let words = u8::try_from(header / 4).ok()?;
    *packet.first_mut()? = 0x40 | words;
    packet.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
    packet.get_mut(6..8)?.copy_from_slice(&flags.to_be_bytes());
    packet.get_mut(10..12)?.fill(0);
    let sum = mmn_probe::wire::checksum::of(packet.get(..header)?);
    packet.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// Puts fragments together. Of more than 64 packets in pieces the oldest is given up, and what is not whole after 30
/// seconds.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    wholes: Vec<Whole>,
}

#[derive(Debug)]
struct Whole {
    key: (Ipv4Addr, Ipv4Addr, u8, u16),
    since: Instant,
    /// Offset in octets, and the packet that carries what stands there.
    pieces: Vec<(usize, Vec<u8>, PacketId)>,
    /// The length of the payload, once the last piece is here.
    length: Option<usize>,
}

/// What a packet is to an [`Assembly`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// It is no fragment.
    NoFragment,
    /// Others are missing.
    Waiting,
    /// It was the last missing one: the whole packet, and the fragments that came before.
    Whole(Vec<u8>, Vec<PacketId>),
}

const MOST: usize = 64;
const PATIENCE: Nanos = Nanos::from_secs(30);

impl Assembly {
    /// Takes a packet.
    pub(crate) fn take(&mut self, now: Instant, bytes: &[u8], id: PacketId) -> Pieces {
        match Head::read(bytes) {
            Some(head) if head.is_v4() && head.is_fragment() => self.fragment(now, bytes, &head, id),
            _ => Pieces::NoFragment,
        }
    }

    fn fragment(&mut self, now: Instant, bytes: &[u8], head: &Head, id: PacketId) -> Pieces {
        let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) =
            (head.source, head.destination)
        else {
            return Pieces::NoFragment;
        };
        self.wholes.retain(|whole| now.saturating_since(whole.since) < PATIENCE);
        let key = (source, destination, head.protocol, head.id);
        let place = self.wholes.iter().position(|whole| whole.key == key).unwrap_or_else(|| {
            if self.wholes.len() == MOST {
                self.wholes.remove(0);
            }
            self.wholes.push(Whole { key, since: now, pieces: Vec::new(), length: None });
            self.wholes.len() - 1
        });
        let Some(whole) = self.wholes.get_mut(place) else { return Pieces::Waiting };
        let offset = usize::from(head.offset) * 8;
        if whole.pieces.iter().any(|piece| piece.0 == offset) {
            return Pieces::Waiting;
        }
        if !head.more {
            whole.length = Some(offset + head.total - head.above);
        }
        let at = whole.pieces.partition_point(|piece| piece.0 < offset);
        whole.pieces.insert(at, (offset, bytes.get(..head.total).unwrap_or_default().to_vec(), id));
        let Some(bytes) = whole.join() else { return Pieces::Waiting };
        let whole = self.wholes.remove(place);
        Pieces::Whole(bytes, whole.pieces.iter().map(|piece| piece.2).filter(|other| *other != id).collect())
    }
}

impl Whole {
    /// The whole packet, if no piece is missing.
    fn join(&self) -> Option<Vec<u8>> {
        let length = self.length?;
        let (_, first, _) = self.pieces.first()?;
        let header = Head::read(first)?.above;
        let mut bytes = first.get(..header)?.to_vec();
        for (offset, piece, _) in &self.pieces {
            let above = Head::read(piece)?.above;
            // What overlaps or leaves a gap is nothing that routers make.
            if bytes.len() - header != *offset {
                return None;
            }
            bytes.extend_from_slice(piece.get(above..)?);
        }
        if bytes.len() - header != length {
            return None;
        }
        let ttl = *bytes.get(8)?;
        rewrite(&mut bytes, header, 0)?;
        settle(&mut bytes, ttl);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_cut_comes_together(
            payload in prop::collection::vec(any::<u8>(), 1..4_000), mtu in 28_usize..1_500, again in 28_usize..1_500, turn: u8,
        ) {
            let header = ipv4::Header {
                tos: 1, total_bytes: u16::try_from(payload.len() + 20).unwrap(), id: 7, dont_fragment: false,
                fragment_offset: 0, ttl: 9, protocol: 17, source: [1, 2, 3, 4].into(), destination: [4, 3, 2, 1].into(),
            };
            let packet = [&ipv4::encode(&header)[..], &payload].concat();
            let fragments = cut(&packet, &Head::read(&packet).unwrap(), mtu).unwrap();
            let mut pieces: Vec<_> = fragments
                .iter()
                .flat_map(|fragment| cut(fragment, &Head::read(fragment).unwrap(), again.min(mtu)).unwrap())
                .collect();
            let count = pieces.len();
            pieces.rotate_left(usize::from(turn) % count);
            let mut assembly = Assembly::default();
            let mut whole = None;
            for piece in &pieces {
                prop_assert!(piece.len() <= mtu);
                if count == 1 {
                    return Ok(());
                }
                match assembly.take(Instant(1), piece, PacketId(1)) {
                    Pieces::Whole(bytes, _) => whole = Some(bytes),
                    pieces => prop_assert_eq!(pieces, Pieces::Waiting),
                }
            }
            prop_assert_eq!(whole, Some(packet));
        }

        #[test]
        fn garbage_is_no_panic(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let mut assembly = Assembly::default();
            for packet in packets {
                assembly.take(Instant(1), &packet, PacketId(1));
            }
        }
    }
}
