//! The built-in measurements of mmn, one file each.
//!
//! A measurement's parameters, result and logic live in its file (a folder of the same name where it grew). To add
//! one: write the file, add its line to `kinds!` below. Without the feature `run` the crate is the types and the decoder
//! of DNS messages alone, light enough for a client: [`CATALOGUE`] then still gives every name and schema.
//!
//! A measurement never opens a socket, reads a clock or decides what a site allows: its context does.
//!
//! Begin with [`ping`], the smallest.

#[cfg(feature = "run")]
mod names;
#[cfg(feature = "run")]
mod session;
mod shared;

pub mod dns;
pub mod http;
pub mod multipath;
pub mod ping;
pub mod tcp;
pub mod trace;
pub mod udp;

use mmn_schema::announce::KindInfo;

pub use shared::{
    Address, AddressFamily, Clock, Conditions, HostInterface, Lane, LaneWish, StampSource, Stamps,
};

macro_rules! kinds {
    ($($style:ident $kind:ty;)*) => {
        /// Every built-in kind, described.
        pub const CATALOGUE: &[Described] = &[$(Described::of::<$kind>()),*];

        /// Every built-in kind, ready to be performed.
        #[cfg(feature = "run")]
        pub const KINDS: &[&dyn mmn_kit::Registered] = &[$(&mmn_kit::$style::<$kind>()),*];
    };
}

kinds! {
    packet ping::Ping;
    packet trace::Trace;
    packet multipath::Multipath;
    packet udp::Udp;
    packet tcp::Tcp;
    session dns::Dns;
    session http::Http;
}

/// A kind as one knows it without performing it.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// The module that performs it by default.
    pub module: &'static str,
    /// What it says of itself, with its schemas.
    pub info: fn() -> KindInfo,
}

impl Described {
    const fn of<K: mmn_kit::Kind>() -> Self {
        Self { name: K::NAME, module: K::MODULE, info: mmn_kit::info::<K> }
    }
}

#[cfg(test)]
mod tests {
    use mmn_schema::announce::KindsDigest;
    use mmn_schema::encoding::Encoding;

    use super::*;

    /// An anchor makes the digest of what it has read.
    #[test]
    fn the_digest_of_all_kinds_outlives_the_wire() {
        let kinds: Vec<KindInfo> = CATALOGUE.iter().map(|kind| (kind.info)()).collect();
        for encoding in [Encoding::Cbor, Encoding::Json] {
            let read: Vec<KindInfo> = encoding.decode(&encoding.encode(&kinds).unwrap()).unwrap();
            assert_eq!(KindsDigest::of(&read), KindsDigest::of(&kinds));
        }
    }
}
