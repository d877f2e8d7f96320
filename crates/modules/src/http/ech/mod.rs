//! Encrypted Client Hello (RFC 9849): what a connection offers, and what became of it.
//!
//! Either the name that is asked for travels encrypted, by a configuration that the server's operator publishes in DNS,
//! and another name stands outside; or what looks like that is sent although nothing is known (GREASE, section 6.2).
//! Neither is tried again otherwise where a server does not take it: that would be another measurement.
//!
//! [`list`] reads configurations, `offer` makes of one what rustls wants, `hpke` encrypts.

pub(super) mod list;

#[cfg(feature = "run")]
mod hpke;
#[cfg(feature = "run")]
mod offer;

#[cfg(feature = "run")]
pub(super) use offer::{Offer, rejection};
