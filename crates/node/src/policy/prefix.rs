//! Address prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address prefix: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It has no such form.
    #[error("{0:?} is no prefix such as \"10.0.0.0/8\" or \"2001:db8::/32\"")]
    Form(String),
    /// It has bits behind its length.
    #[error("{0:?} has bits behind its length; meant is perhaps {1}")]
    HostBits(String, Prefix),
}

impl Prefix {
    pub(super) const fn v4(octets: [u8; 4], bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])), bits }
    }

    /// `high` are the first 64 bits and `low` the others.
    pub(super) const fn v6(high: u64, low: u64, bits: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::from_bits(((high as u128) << 64) | low as u128)), bits }
    }

    /// Whether `address` lies within.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                masked(own.to_bits().into(), self.bits, 32) == masked(other.to_bits().into(), self.bits, 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                masked(own.to_bits(), self.bits, 128) == masked(other.to_bits(), self.bits, 128)
            }
            _ => false,
        }
    }

    /// Its length in bits.
    pub const fn bits(self) -> u8 {
        self.bits
    }
}

/// The first `bits` of the low `width` bits of `value`.
fn masked(value: u128, bits: u8, width: u8) -> u128 {
    value.checked_shr(u32::from(width - bits)).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let form = || PrefixError::Form(text.chars().take(80).collect());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| form())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(form());
        }
        let cut = |value: u128| masked(value, bits, width).checked_shl(u32::from(width - bits)).unwrap_or(0);
        let network: IpAddr = match address {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(u32::try_from(cut(v4.to_bits().into())).map_err(|_| form())?).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(cut(v6.to_bits())).into(),
        };
        let prefix = Self { address: network, bits };
        if network == address {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits(text.chars().take(80).collect(), prefix))
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prefix_survives_the_round_trip_and_holds_its_own(address: IpAddr, bits in 0u8..=128) {
            let bits = if address.is_ipv4() { bits.min(32) } else { bits };
            let prefix = match format!("{address}/{bits}").parse::<Prefix>() {
                Ok(prefix) | Err(PrefixError::HostBits(_, prefix)) => prefix,
                Err(error) => panic!("{error}"),
            };
            prop_assert!(prefix.contains(address));
            prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Prefix>();
        }
    }

    #[test]
    fn ends_are_exact() {
        let prefix: Prefix = "10.0.0.0/8".parse().unwrap();
        assert!(prefix.contains("10.255.255.255".parse().unwrap()));
        assert!(!prefix.contains("11.0.0.0".parse().unwrap()));
        assert!(!prefix.contains("::a00:1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Prefix>().unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
    }
}
