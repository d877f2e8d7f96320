//! Reading a certificate (RFC 5280), as far as it can be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::HEXLOWER;
use mmn_kit::{Octets, Timestamp};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::result::Certificate;

/// The longest name that is kept, in characters.
const MAX_NAME: usize = 512;
/// The most text of alternative names that is kept, in bytes.
const MAX_SANS: usize = 8 << 10;

/// What a certificate says. Bytes that are none leave all but the digest absent.
pub(super) fn describe(der: &[u8], keep: bool) -> Certificate {
    let mut certificate = Certificate {
        sha256: Octets(Sha256::digest(der).to_vec()),
        subject: None,
        issuer: None,
        serial: None,
        not_before: None,
        not_after: None,
        sans: Vec::new(),
        sans_cut: false,
        key: None,
        der: keep.then(|| Octets(der.to_vec())),
    };
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return certificate };
    certificate.subject = Some(short(&parsed.subject().to_string()));
    certificate.issuer = Some(short(&parsed.issuer().to_string()));
    certificate.serial = Some(short(&HEXLOWER.encode(parsed.raw_serial())));
    certificate.not_before = instant(&parsed.validity().not_before);
    certificate.not_after = instant(&parsed.validity().not_after);
    certificate.key = key(parsed.public_key());
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        let mut bytes = 0;
        for name in names.value.general_names.iter().map(alternative) {
            bytes += name.len();
            if bytes > MAX_SANS {
                certificate.sans_cut = true;
                break;
            }
            certificate.sans.push(name);
        }
    }
    certificate
}

fn short(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

fn instant(time: &ASN1Time) -> Option<Timestamp> {
    time.timestamp().checked_mul(1_000_000_000).map(Timestamp::from_unix_ns)
}

fn alternative(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
            (*name).to_owned()
        }
        GeneralName::IPAddress(bytes) => address(bytes)
            .map_or_else(|| format!("address:{}", HEXLOWER.encode(bytes)), |address| address.to_string()),
        other => short(&other.to_string()),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
}

/// The kind of a key, with its size or curve.
fn key(info: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    const ED25519: &str = "1.3.101.112";
    const ED448: &str = "1.3.101.113";
    match info.parsed().ok()? {
        PublicKey::RSA(rsa) => Some(format!("RSA {}", rsa.key_size())),
        PublicKey::EC(point) => Some(format!("EC P-{}", point.key_size())),
        PublicKey::DSA(_) => Some("DSA".to_owned()),
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            ED25519 => Some("Ed25519".to_owned()),
            ED448 => Some("Ed448".to_owned()),
            oid => Some(oid.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_described() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::IpAddress("192.0.2.1".parse().unwrap()));
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let certificate = describe(&der, true);
        assert_eq!(certificate.sans, ["a.example", "192.0.2.1"]);
        assert_eq!(certificate.not_after.unwrap().to_string(), "2030-01-02T00:00:00.000000000Z");
        assert_eq!(certificate.key.as_deref(), Some("EC P-256"));
        assert_eq!(certificate.der.unwrap().0, der);
        assert!(certificate.subject.unwrap().contains("rcgen"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let certificate = describe(&bytes, false);
            prop_assert_eq!(certificate.der, None);
        }
    }
}
