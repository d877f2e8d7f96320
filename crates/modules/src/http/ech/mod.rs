//! Encrypted Client Hello (RFC 9849): what a connection offers, and what became of it.
//!
//! Either the name that is asked for travels encrypted, by a configuration that the server's operator publishes in DNS,
//! and another name stands outside; or what looks like that is sent although nothing is known (GREASE, section 6.2).
//! Neither is tried again otherwise where a server does not take it: that would be another measurement.
//!
//! [`list`] reads configurations, `offer` makes of one what rustls wants, `hpke` encrypts.

use mmn_kit::Octets;
use serde::{Deserialize, Deserializer, de};

pub(super) mod list;

#[cfg(feature = "run")]
mod hpke;
#[cfg(feature = "run")]
mod offer;

#[cfg(feature = "run")]
pub(super) use offer::{Offer, rejection};

/// Reads a parameter's bytes; what is wrong with them is told with the parameter's name.
pub(super) fn config_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Octets>, D::Error> {
    let read = Option::deserialize(deserializer);
    read.map_err(|error| de::Error::custom(format_args!("ech_config_list: {error}")))
}
