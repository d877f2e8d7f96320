//! The rules that options share, and what is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::table::Rule;

/// A number within bounds; `0x` and a leading 0 are those of C.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<const DIGITS: bool> {
    name: &'static str,
    low: i64,
    high: i64,
}

/// A number that has to be written in digits.
pub(super) const fn number(name: &'static str, low: i64, high: i64) -> Number<true> {
    Number { name, low, high }
}

/// A number that may be written in hexadecimal.
pub(super) const fn value(name: &'static str, low: i64, high: i64) -> Number<false> {
    Number { name, low, high }
}

/// The number that users tell their measurements by.
pub(super) const fn user_id() -> Number<true> {
    number("userid", 0, u32::MAX as i64)
}

impl<T: TryFrom<i64> + Into<i64> + Copy, const D: bool> Rule<T> for Number<D> {
    const DIGITS: bool = D;

    fn read(&self, text: &str) -> Result<T, String> {
        let number = integer(text).filter(|number| (self.low..=self.high).contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("{} must be within {} - {}, not {text}", self.name, self.low, self.high))
    }

    fn write(&self, value: &T) -> String {
        let number: i64 = (*value).into();
        number.to_string()
    }
}

/// An integer as C writes it.
pub(super) fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    number.ok().map(|number| sign * number)
}

/// A span of time within bounds. Without a unit (`s`, `ms`, `us`) it is of `unit` microseconds each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    name: &'static str,
    unit: u64,
    low: u64,
    high: u64,
    step: u64,
}

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

/// A span in seconds where no unit stands; bounds are in milliseconds.
pub(super) const fn seconds(name: &'static str, low: u64, high: u64) -> Span {
    Span { name, unit: S, low: low * MS, high: high * MS, step: 1 }
}

/// A span in milliseconds where no unit stands, a whole number of them.
pub(super) const fn milliseconds(name: &'static str, low: u64, high: u64) -> Span {
    Span { name, unit: MS, low: low * MS, high: high * MS, step: MS }
}

/// A span in hundredths of a second where no unit stands, a whole number of them.
pub(super) const fn hundredths(name: &'static str, low: u64, high: u64) -> Span {
    Span { name, unit: 10 * MS, low: low * MS, high: high * MS, step: 10 * MS }
}

impl Span {
    /// Whole seconds alone, or another step in milliseconds.
    pub(super) const fn steps(self, ms: u64) -> Self {
        Self { step: ms * MS, ..self }
    }
}

impl Rule<Duration> for Span {
    fn read(&self, text: &str) -> Result<Duration, String> {
        let us = microseconds(text, self.unit).ok_or_else(|| format!("malformed {}: {text}", self.name))?;
        if !(self.low..=self.high).contains(&us) {
            let (low, high) = (written(self.low), written(self.high));
            return Err(format!("{} must be within {low} - {high}, not {text}", self.name));
        }
        if !us.is_multiple_of(self.step) {
            return Err(format!("{} must be a multiple of {}, not {text}", self.name, written(self.step)));
        }
        Ok(Duration::from_micros(us))
    }

    /// Without a unit where it is a whole number of them: daemons of before 2022 know none.
    fn write(&self, value: &Duration) -> String {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        if us.is_multiple_of(self.unit) { (us / self.unit).to_string() } else { written(us) }
    }
}

/// An instant, in seconds since 1970 and parts of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct At;

impl Rule<Duration> for At {
    fn read(&self, text: &str) -> Result<Duration, String> {
        microseconds(text, S).map(Duration::from_micros).ok_or_else(|| format!("malformed time: {text}"))
    }

    fn write(&self, value: &Duration) -> String {
        written(u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Microseconds of a decimal number with a unit or without; absent too where it is finer than that.
pub(super) fn microseconds(text: &str, unit: u64) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let unit = match suffix {
        "" => unit,
        "s" => S,
        "ms" => MS,
        "us" => 1,
        _ => return None,
    };
    let (whole, part) = match number.split_once('.') {
        Some((whole, part)) if !part.is_empty() => (whole, part.trim_end_matches('0')),
        Some(_) => return None,
        None => (number, ""),
    };
    let mut us = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in part.chars() {
        if !place.is_multiple_of(10) {
            return None;
        }
        place /= 10;
        us = us.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(us)
}

/// Microseconds as seconds, with as many places as they need.
pub(super) fn written(us: u64) -> String {
    let (whole, part) = (us / S, us % S);
    let text = if part == 0 { whole.to_string() } else { format!("{whole}.{part:06}") };
    let text = if part == 0 { text.as_str() } else { text.trim_end_matches('0') };
    format!("{text}s")
}

/// One of a list of words, in any case.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// What such a word is.
    const WHAT: &'static str;
    /// The words; of several for one thing, the first is written.
    const WORDS: &'static [(&'static str, Self)];
}

/// The rule of [`Word`]s.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneOf;

impl<T: Word> Rule<T> for OneOf {
    fn read(&self, text: &str) -> Result<T, String> {
        let found = T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
            format!("unknown {} '{text}': there are {}", T::WHAT, words.join(", "))
        })
    }

    fn write(&self, value: &T) -> String {
        T::WORDS.iter().find(|(_, one)| one == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
    }
}

/// Any text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Any;

impl Rule<String> for Any {
    fn read(&self, text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// An address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address;

impl Rule<IpAddr> for Address {
    fn read(&self, text: &str) -> Result<IpAddr, String> {
        text.parse().map_err(|_| format!("'{text}' is no IP address"))
    }

    fn write(&self, value: &IpAddr) -> String {
        value.to_string()
    }
}

impl Rule<Ipv4Addr> for Address {
    fn read(&self, text: &str) -> Result<Ipv4Addr, String> {
        text.parse().map_err(|_| format!("'{text}' is no IPv4 address"))
    }

    fn write(&self, value: &Ipv4Addr) -> String {
        value.to_string()
    }
}

/// Octets in hexadecimal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hex {
    most: usize,
    /// A single digit may begin it.
    odd: bool,
}

/// Up to so many octets, two digits each.
pub(super) const fn hex(most: usize) -> Hex {
    Hex { most, odd: false }
}

impl Hex {
    /// Takes an odd number of digits as if a 0 stood before them.
    pub(super) const fn odd(self) -> Self {
        Self { odd: true, ..self }
    }
}

impl Rule<Vec<u8>> for Hex {
    fn read(&self, text: &str) -> Result<Vec<u8>, String> {
        if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(format!("'{text}' is not in hexadecimal"));
        }
        if !text.len().is_multiple_of(2) && !self.odd {
            return Err("an even number of hexadecimal digits is needed".into());
        }
        if text.len().div_ceil(2) > self.most {
            return Err(format!("{} octets, of which {} are allowed", text.len().div_ceil(2), self.most));
        }
        let text = if text.len().is_multiple_of(2) { text.to_owned() } else { format!("0{text}") };
        let octets = text.as_bytes().chunks(2).map(|pair| {
            str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0)
        });
        Ok(octets.collect())
    }

    fn write(&self, value: &Vec<u8>) -> String {
        use std::fmt::Write as _;
        value.iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        })
    }
}

/// 95 or 99 percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confidence;

impl Rule<u8> for Confidence {
    const DIGITS: bool = true;

    fn read(&self, text: &str) -> Result<u8, String> {
        match integer(text) {
            Some(95) => Ok(95),
            Some(99) => Ok(99),
            _ => Err(format!("confidence must be 95 or 99, not {text}")),
        }
    }

    fn write(&self, value: &u8) -> String {
        value.to_string()
    }
}

/// What follows the options.
pub(super) trait Target: Sized {
    /// Stands in until it has been read.
    fn none() -> Self;
    fn read(text: &str) -> Result<Self, String>;
    fn write(&self) -> String;
}

impl Target for IpAddr {
    fn none() -> Self {
        Self::V4(Ipv4Addr::UNSPECIFIED)
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected an address to measure".into());
        }
        text.parse().map_err(|_| format!("invalid destination address '{text}'"))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Target for String {
    fn none() -> Self {
        Self::new()
    }

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a name to ask for".into()),
            text if text.contains(char::is_whitespace) => Err(format!("invalid name '{text}'")),
            text => Ok(text.to_owned()),
        }
    }

    fn write(&self) -> String {
        self.clone()
    }
}

/// Words and the values they stand for.
macro_rules! words {
    ($(#[$about:meta])* $name:ident, $what:literal; $($(#[$doc:meta])* $value:ident = $($word:literal)|+,)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $value,)*
        }

        impl crate::command::rules::Word for $name {
            const WHAT: &'static str = $what;
            const WORDS: &'static [(&'static str, Self)] = &[$($(($word, Self::$value),)+)*];
        }
    };
}

pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, unit, us) in [
            ("1", S, Some(1_000_000)),
            ("2.5s", S, Some(2_500_000)),
            ("0.050000s", S, Some(50_000)),
            ("25", 10 * MS, Some(250_000)),
            ("300ms", S, Some(300_000)),
            ("1.5ms", S, Some(1_500)),
            ("7us", S, Some(7)),
            ("1.5us", S, None),
            ("1.", S, None),
            (".5", S, None),
            ("1m", S, None),
            ("-1", S, None),
            ("", S, None),
            ("99999999999999999999s", S, None),
            ("18446744073709s", S, Some(18_446_744_073_709_000_000)),
            ("18446744073710s", S, None),
        ] {
            assert_eq!(microseconds(text, unit), us, "{text}");
        }
        assert_eq!(written(2_500_000), "2.5s");
        assert_eq!(written(50), "0.00005s");
        assert_eq!(written(3_000_000), "3s");
    }

    #[test]
    fn integers_are_those_of_c() {
        for (text, number) in [
            ("10", Some(10)),
            ("0x1F", Some(31)),
            ("010", Some(8)),
            ("-3", Some(-3)),
            ("0", Some(0)),
            ("08", None),
        ] {
            assert_eq!(integer(text), number, "{text}");
        }
        assert_eq!(integer("--3"), None);
        assert_eq!(integer("1x"), None);
    }
}
