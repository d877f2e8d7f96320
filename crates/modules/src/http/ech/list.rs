//! Reading a list of ECH configurations (`ECHConfigList`, RFC 9849, section 4), as an HTTPS record carries it.
//!
//! It says which one is used and why another can't be; nothing here encrypts. What a later version of ECH would put into
//! a list is passed over, as the RFC wants it.

use std::collections::BTreeSet;
use std::fmt;

/// The version of RFC 9849.
const VERSION: u16 = 0xfe0d;
/// DHKEM(X25519, HKDF-SHA256) (RFC 9180, section 7.1).
const X25519: u16 = 0x0020;
/// The length of its public keys in bytes.
const KEY_BYTES: usize = 32;
/// HKDF-SHA256 (RFC 9180, section 7.2).
const HKDF_SHA256: u16 = 0x0001;
/// AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305 (RFC 9180, section 7.3).
const AEADS: [u16; 3] = [0x0001, 0x0002, 0x0003];
/// Who does not know an extension with this bit must not use its configuration.
const MANDATORY: u16 = 0x8000;
/// Of how many configurations it is said why they can't be used.
const MAX_TOLD: usize = 4;

/// The configuration of a list that is used: the first that can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen<'a> {
    /// The configuration, from its version on.
    pub(crate) config: &'a [u8],
    /// The name that the outer `ClientHello` asks for: the configuration's `public_name`.
    pub(crate) outer_name: &'a str,
    /// The public key.
    pub(crate) key: &'a [u8],
}

impl<'a> Chosen<'a> {
    /// Chooses from a list.
    pub(crate) fn of(list: &'a [u8]) -> Result<Self, String> {
        let mut outer = Reader(list);
        let mut inner = outer.prefixed().ok_or("it is no list of configurations: its length is cut off")?;
        if !outer.0.is_empty() {
            return Err(format!("it is no list of configurations: {} bytes follow it", outer.0.len()));
        }
        if inner.is_empty() {
            return Err("it holds no configuration".to_owned());
        }
        let (mut found, mut unusable) = (None, Vec::new());
        let mut number = 0;
        // All are read, so that a list that is cut off is none, wherever the one is that would do.
        while !inner.is_empty() {
            number += 1;
            let mut reader = Reader(inner);
            let cut = || format!("configuration {number} is cut off");
            let version = reader.u16().ok_or_else(cut)?;
            let contents = reader.prefixed().ok_or_else(cut)?;
            let (config, rest) = inner.split_at(inner.len() - reader.0.len());
            inner = rest;
            match usable(version, contents) {
                Ok((outer_name, key)) => found = found.or(Some(Self { config, outer_name, key })),
                Err(why) if unusable.len() < MAX_TOLD => unusable.push(format!("{number}: {why}")),
                Err(_) => {}
            }
        }
        found.ok_or_else(|| {
            let more = if number > MAX_TOLD { "; …" } else { "" };
            format!("none of its configurations can be used ({}{more})", unusable.join("; "))
        })
    }

    /// A list of this one alone.
    #[cfg(feature = "run")]
    pub(crate) fn list(&self) -> Vec<u8> {
        let length = u16::try_from(self.config.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), self.config].concat()
    }
}

/// Why a configuration can't be used.
enum Unusable {
    Version(u16),
    CutOff,
    Kem(u16),
    Key(usize),
    Suites,
    Name,
    Extension(u16),
    Repeated(u16),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version 0x{version:04x} is unknown"),
            Self::CutOff => f.write_str("its contents don't fit its length"),
            Self::Kem(kem) => write!(f, "KEM 0x{kem:04x} is not supported"),
            Self::Key(bytes) => write!(f, "its public key has {bytes} bytes"),
            Self::Suites => f.write_str("none of its cipher suites is supported"),
            Self::Name => f.write_str("its public name is no name of a host"),
            Self::Extension(kind) => write!(f, "it wants extension 0x{kind:04x} understood"),
            Self::Repeated(kind) => write!(f, "extension 0x{kind:04x} stands in it twice"),
        }
    }
}

/// The public name and the public key of a configuration.
fn usable(version: u16, contents: &[u8]) -> Result<(&str, &[u8]), Unusable> {
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    let mut reader = Reader(contents);
    let parts = (|| {
        let _config_id = reader.u8()?;
        let kem = reader.u16()?;
        let key = reader.prefixed()?;
        let suites = reader.prefixed()?;
        let _maximum_name_length = reader.u8()?;
        let length = usize::from(reader.u8()?);
        let name = reader.take(length)?;
        let extensions = reader.prefixed()?;
        (reader.0.is_empty() && suites.len() % 4 == 0).then_some((kem, key, suites, name, extensions))
    })();
    let (kem, key, suites, name, extensions) = parts.ok_or(Unusable::CutOff)?;
    let mut seen = BTreeSet::new();
    let mut extensions = Reader(extensions);
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or(Unusable::CutOff)?;
        extensions.prefixed().ok_or(Unusable::CutOff)?;
        if kind & MANDATORY != 0 {
            return Err(Unusable::Extension(kind));
        }
        if !seen.insert(kind) {
            return Err(Unusable::Repeated(kind));
        }
    }
    if kem != X25519 {
        return Err(Unusable::Kem(kem));
    }
    if key.len() != KEY_BYTES {
        return Err(Unusable::Key(key.len()));
    }
    let mut suites = Reader(suites);
    let mut known = false;
    while let (Some(kdf), Some(aead)) = (suites.u16(), suites.u16()) {
        known |= kdf == HKDF_SHA256 && AEADS.contains(&aead);
    }
    if !known {
        return Err(Unusable::Suites);
    }
    let name = std::str::from_utf8(name).ok().filter(|name| is_host(name)).ok_or(Unusable::Name)?;
    Ok((name, key))
}

/// Whether a public name is one that may be used: labels of letters, digits and hyphens, the last of which could not be
/// part of an IPv4 address (RFC 9849, section 6.1.7).
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = |text: &str| {
        let rest = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !digits(last) && !hexadecimal(last)
}

/// What is left to read, big-endian.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*first))
    }

    /// What a length of two bytes announces.
    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A configuration with one suite.
    pub(crate) fn config(key: &[u8], kem: u16, aead: u16, name: &str, extensions: &[u8]) -> Vec<u8> {
        let prefixed = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let suites = [HKDF_SHA256.to_be_bytes(), aead.to_be_bytes()].concat();
        let contents = [
            &[7][..],
            &kem.to_be_bytes(),
            &prefixed(key),
            &prefixed(&suites),
            &[64, u8::try_from(name.len()).unwrap()],
            name.as_bytes(),
            &prefixed(extensions),
        ];
        [&VERSION.to_be_bytes()[..], &prefixed(&contents.concat())].concat()
    }

    pub(crate) fn list(configs: &[&[u8]]) -> Vec<u8> {
        let configs = configs.concat();
        [&u16::try_from(configs.len()).unwrap().to_be_bytes(), &configs[..]].concat()
    }

    const KEY: [u8; 32] = [9; 32];

    fn good() -> Vec<u8> {
        config(&KEY, X25519, 1, "public.example", &[])
    }

    #[test]
    fn the_first_that_can_be_used_is_chosen() {
        // Of the future, with another KEM, and with extensions of which none is mandatory.
        let later = [0xfe, 0x0e, 0, 1, 0];
        let p256 = config(&[4; 65], 0x0010, 1, "p256.example", &[]);
        let extended = config(&KEY, X25519, 3, "extended.example", &[0, 1, 0, 0, 0, 2, 0, 1, 5]);
        let list = list(&[&later, &p256, &extended, &good()]);
        let chosen = Chosen::of(&list).unwrap();
        assert_eq!(
            (chosen.outer_name, chosen.key, chosen.config),
            ("extended.example", &KEY[..], &extended[..])
        );
        assert_eq!(Chosen::of(&super::tests::list(&[&extended])).unwrap(), chosen);
    }

    #[test]
    fn what_can_not_be_used_says_why() {
        let one = |config: &[u8]| Chosen::of(&list(&[config])).unwrap_err();
        for (config, why) in [
            (vec![0xfe, 0x0a, 0, 1, 0], "1: version 0xfe0a is unknown"),
            (vec![0xfe, 0x0d, 0, 1, 0], "1: its contents don't fit its length"),
            (config(&KEY, 0x0021, 1, "a.example", &[]), "KEM 0x0021"),
            (config(&KEY[1..], X25519, 1, "a.example", &[]), "31 bytes"),
            (config(&KEY, X25519, 0xffff, "a.example", &[]), "none of its cipher suites"),
            (config(&KEY, X25519, 1, "a.example", &[0x80, 1, 0, 0]), "extension 0x8001 understood"),
            (config(&KEY, X25519, 1, "a.example", &[0, 1, 0, 0, 0, 1, 0, 0]), "0x0001 stands in it twice"),
            (config(&KEY, X25519, 1, "a.example", &[0, 1, 0, 9]), "don't fit"),
        ] {
            let told = one(&config);
            assert!(told.starts_with("none of its configurations") && told.contains(why), "{told}");
        }
        for name in ["", "-a.example", "a..example", "a.example.", "192.0.2.1", "a.0x1f", "a_b.example", "é"]
        {
            let told = one(&config(&KEY, X25519, 1, name, &[]));
            assert!(told.contains("no name of a host"), "{name}: {told}");
        }
        let many = Chosen::of(&list(&[&[0, 1, 0, 0][..]; 9])).unwrap_err();
        assert!(many.ends_with("4: version 0x0001 is unknown; …)"), "{many}");
    }

    #[test]
    fn what_is_no_list_says_why() {
        assert!(Chosen::of(&[]).unwrap_err().contains("length is cut off"));
        assert!(Chosen::of(&[0, 9, 1]).unwrap_err().contains("length is cut off"));
        assert_eq!(Chosen::of(&[0, 0]).unwrap_err(), "it holds no configuration");
        let followed = [&list(&[&good()])[..], &[0]].concat();
        assert!(Chosen::of(&followed).unwrap_err().contains("1 bytes follow it"));
        let cut = good();
        let cut = list(&[&good(), &cut[..cut.len() - 1]]);
        assert_eq!(Chosen::of(&cut).unwrap_err(), "configuration 2 is cut off");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = Chosen::of(&bytes);
            let _ = Chosen::of(&list(&[&bytes]));
        }
    }
}
