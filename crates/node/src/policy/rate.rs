//! Rates of bits as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bits per second, written as `"10Mbit/s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRate(pub u64);

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate such as \"10Mbit/s\" or \"500kbit/s\"")]
pub struct BitRateError(String);

const UNITS: [(&str, u64); 4] =
    [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

impl FromStr for BitRate {
    type Err = BitRateError;

    fn from_str(text: &str) -> Result<Self, BitRateError> {
        UNITS
            .into_iter()
            .find_map(|(unit, factor)| {
                let number = text.trim().strip_suffix(unit)?.trim();
                number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
            })
            .ok_or_else(|| BitRateError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
            .unwrap_or(("bit/s", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for BitRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rates_survive_the_round_trip(bits: u64) {
            prop_assert_eq!(BitRate(bits).to_string().parse::<BitRate>().unwrap(), BitRate(bits));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,30}") {
            let _ = text.parse::<BitRate>();
        }
    }

    #[test]
    fn rates_read_as_people_write_them() {
        assert_eq!("10Mbit/s".parse::<BitRate>().unwrap(), BitRate(10_000_000));
        assert_eq!("500 kbit/s".parse::<BitRate>().unwrap().to_string(), "500kbit/s");
        assert!("10MB/s".parse::<BitRate>().is_err());
    }
}
