//! Codecs: bytes on the wire to borrowed types and back.
//!
//! Every decoder takes any bytes at all and never panics; each layer has one entry, `decode`. Layouts name their
//! RFC. Begin with [`probe`] for what leaves and [`heard`] for what comes; both are made of the layers: [`ipv4`],
//! [`ipv6`], [`icmp`] with its [`extension`]s, [`udp`] and [`tcp`].

pub mod checksum;
pub mod extension;
pub mod heard;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod probe;
pub mod tcp;
pub mod udp;

/// Why bytes are not what they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field that must be there.
    #[error("truncated: {have} octets of at least {need}")]
    Truncated {
        /// Octets needed.
        need: usize,
        /// Octets there.
        have: usize,
    },
    /// Another IP version.
    #[error("IP version {0}")]
    Version(u8),
    /// A header length smaller than the header.
    #[error("header length of {0} octets")]
    HeaderLength(usize),
    /// The checksum does not fit the bytes.
    #[error("wrong checksum")]
    Checksum,
    /// It is nothing that a probe is answered with.
    #[error("no answer to a probe")]
    Foreign,
}

/// The number of the protocol ICMP (IANA protocol numbers).
pub const PROTOCOL_ICMP: u8 = 1;
/// The number of the protocol TCP (IANA protocol numbers).
pub const PROTOCOL_TCP: u8 = 6;
/// The number of the protocol UDP (IANA protocol numbers).
pub const PROTOCOL_UDP: u8 = 17;
/// The number of the protocol `ICMPv6` (IANA protocol numbers).
pub const PROTOCOL_ICMPV6: u8 = 58;

fn octet(bytes: &[u8], at: usize) -> Result<u8, DecodeError> {
    bytes.get(at).copied().ok_or(DecodeError::Truncated { need: at + 1, have: bytes.len() })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], DecodeError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(DecodeError::Truncated { need: at + N, have: bytes.len() })
}

fn word(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn long(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    array(bytes, at).map(u32::from_be_bytes)
}

#[cfg(test)]
pub(crate) mod golden;
