//! What the connections of a task offer, in the terms of rustls, and what it says of an offer that was not taken.

use mmn_kit::{Failure, Octets, code};
use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::hpke::HpkePublicKey;
use rustls::internal::msgs::codec::Codec;
use rustls::pki_types::EchConfigListBytes;
use rustls::{Error, PeerIncompatible};

use super::hpke::{AES_128, SUITES};
use super::list::Chosen;
use crate::http::Params;

/// What the connections of a task offer.
#[derive(Debug, Clone)]
pub(in crate::http) struct Offer {
    /// As rustls has it.
    pub(in crate::http) mode: EchMode,
    /// The name that stands outside; absent where nothing is encrypted.
    pub(in crate::http) outer_name: Option<String>,
}

impl Offer {
    /// As the parameters say; nothing where they want none.
    pub(in crate::http) fn new(params: &Params) -> Result<Option<Self>, Failure> {
        let refuse = |error: &dyn std::fmt::Display| {
            Failure::refused(code::PARAMETERS, format_args!("ech_config_list: {error}"))
        };
        if let Some(list) = &params.ech_config_list {
            let chosen = Chosen::of(&list.0).map_err(|error| refuse(&error))?;
            // Not every 32 bytes are a key that can be encrypted to (RFC 7748, section 6.1).
            let key = HpkePublicKey(chosen.key.to_vec());
            AES_128.setup_sealer(&[], &key).map_err(|error| refuse(&error))?;
            let alone = EchConfigListBytes::from(chosen.list());
            let config = EchConfig::new(alone, SUITES).map_err(|error| refuse(&error))?;
            return Ok(Some(Self { mode: config.into(), outer_name: Some(chosen.outer_name.to_owned()) }));
        }
        if params.ech_grease {
            let (key, _) =
                AES_128.generate_key_pair().map_err(|error| Failure::failed(code::INTERNAL, error))?;
            let mode = EchGreaseConfig::new(AES_128, key).into();
            return Ok(Some(Self { mode, outer_name: None }));
        }
        Ok(None)
    }
}

/// What a server sent that took no offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Rejection {
    /// Configurations to try again with, where it has any.
    pub(in crate::http) retry_configs: Option<Octets>,
}

/// The rejection that ended a handshake; nothing where that is not why it ended.
pub(in crate::http) fn rejection(error: &Error) -> Option<Rejection> {
    let Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(configs)) = error else {
        return None;
    };
    Some(Rejection { retry_configs: configs.as_ref().map(|configs| Octets(configs.get_encoding())) })
}

#[cfg(test)]
mod tests {
    use rustls::internal::msgs::codec::Reader;
    use rustls::internal::msgs::handshake::EchConfigPayload;

    use super::super::list::tests::{config, list};
    use super::*;

    fn params(list: Vec<u8>) -> Params {
        Params { ech_config_list: Some(Octets(list)), ..Params::default() }
    }

    #[test]
    fn an_offer_has_the_name_of_the_configuration_that_is_used() {
        let [p256, good, later] = [
            config(&[4; 65], 0x10, 1, "p256.example", &[]),
            config(&[9; 32], 0x20, 3, "one.example", &[]),
            config(&[9; 32], 0x20, 1, "two.example", &[]),
        ];
        let offer = Offer::new(&params(list(&[&p256, &good, &later]))).unwrap().unwrap();
        assert_eq!(offer.outer_name.as_deref(), Some("one.example"));
        assert!(matches!(offer.mode, EchMode::Enable(_)));
        assert!(Offer::new(&Params::default()).unwrap().is_none());
        let grease = Offer::new(&Params { ech_grease: true, ..Params::default() }).unwrap().unwrap();
        assert!(matches!((grease.mode, grease.outer_name), (EchMode::Grease(_), None)));
    }

    #[test]
    fn a_key_that_nothing_can_be_encrypted_to_is_refused() {
        let failure = Offer::new(&params(list(&[&config(&[0; 32], 0x20, 1, "a.example", &[])]))).unwrap_err();
        assert_eq!(failure.reason.code, "parameters");
        assert!(failure.reason.detail.unwrap().starts_with("ech_config_list: "));
    }

    #[test]
    fn configurations_to_try_again_with_are_those_that_came() {
        let list = list(&[&config(&[9; 32], 0x20, 1, "a.example", &[0, 1, 0, 0]), &[0xfe, 0x0e, 0, 1, 5]]);
        let configs = Vec::<EchConfigPayload>::read(&mut Reader::init(&list)).unwrap();
        let with = |configs| rejection(&PeerIncompatible::ServerRejectedEncryptedClientHello(configs).into());
        assert_eq!(with(Some(configs)), Some(Rejection { retry_configs: Some(Octets(list)) }));
        assert_eq!(with(None), Some(Rejection { retry_configs: None }));
        assert_eq!(rejection(&PeerIncompatible::Tls12NotOffered.into()), None);
    }
}
