//! A prefix of addresses, such as `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IpPrefix {
    /// The first address: all bits beyond `len` are 0.
    first: IpAddr,
    len: u8,
}

impl IpPrefix {
    pub(super) fn new(address: IpAddr, len: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(address) => {
                let host = 32u32.checked_sub(len.into())?;
                IpAddr::V4(Ipv4Addr::from_bits(
                    address.to_bits().checked_shr(host).map_or(0, |net| net << host),
                ))
            }
            IpAddr::V6(address) => {
                let host = 128u32.checked_sub(len.into())?;
                IpAddr::V6(Ipv6Addr::from_bits(
                    address.to_bits().checked_shr(host).map_or(0, |net| net << host),
                ))
            }
        };
        Some(Self { first, len })
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && Self::new(address, self.len) == Some(self)
    }
}

impl FromStr for IpPrefix {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) if len.bytes().all(|byte| byte.is_ascii_digit()) => (address, Some(len)),
            Some(_) => return Err(()),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let len = match len {
            Some(len) => len.parse().map_err(|_| ())?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, len).ok_or(())
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_their_addresses() {
        let holds = |prefix: &str, address: &str| {
            prefix.parse::<IpPrefix>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(!holds("10.0.0.0/8", "::a00:1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(holds("0.0.0.0/0", "255.1.1.1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("192.0.2.1", "192.0.2.1"));
        assert!(!holds("192.0.2.1", "192.0.2.2"));
        assert_eq!("10.1.2.3/8".parse::<IpPrefix>().unwrap().to_string(), "10.0.0.0/8");
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/"] {
            assert!(wrong.parse::<IpPrefix>().is_err(), "{wrong}");
        }
    }
}
