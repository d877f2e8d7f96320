//! HPKE (RFC 9180) as rustls asks for it, by the crate `hpke`: the provider that is built in has none.
//!
//! Base mode with DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256, which is what configurations of ECH name, with each AEAD of
//! RFC 9180 that encrypts. It holds no key of its own.

use std::fmt;
use std::marker::PhantomData;

use hpke::aead::{Aead, AeadCtxR, AeadCtxS, AesGcm128, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender};
use rustls::Error;
use rustls::crypto::hpke::{
    EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer, HpkeSuite,
};
// The names of what a suite is made of stand there alone.
use rustls::internal::msgs::enums::{HpkeAead, HpkeKdf, HpkeKem};
use rustls::internal::msgs::handshake::HpkeSymmetricCipherSuite;

/// Every suite, that which most configurations name first.
pub(crate) static SUITES: &[&dyn Hpke] =
    &[AES_128, &Suite::<ChaCha20Poly1305>::NEW, &Suite::<AesGcm256>::NEW];
/// What is offered where there is no configuration.
pub(crate) static AES_128: &dyn Hpke = &Suite::<AesGcm128>::NEW;

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

/// X25519 and HKDF-SHA256 with an AEAD.
struct Suite<A>(PhantomData<fn() -> A>);

impl<A> Suite<A> {
    const NEW: Self = Self(PhantomData);
}

impl<A> fmt::Debug for Suite<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Suite")
    }
}

impl<A: Aead + 'static> Hpke for Suite<A> {
    fn seal(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        pub_key: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Vec<u8>), Error> {
        let (encapsulated, mut sealer) = self.setup_sealer(info, pub_key)?;
        Ok((encapsulated, sealer.seal(aad, plaintext)?))
    }

    fn setup_sealer(
        &self,
        info: &[u8],
        pub_key: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Box<dyn HpkeSealer + 'static>), Error> {
        let key = PublicKey::from_bytes(&pub_key.0).map_err(told)?;
        let (encapsulated, sender) =
            setup_sender::<A, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &key, info).map_err(told)?;
        Ok((EncapsulatedSecret(encapsulated.to_bytes().to_vec()), Box::new(Sealer(sender))))
    }

    fn open(
        &self,
        enc: &EncapsulatedSecret,
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
        secret_key: &HpkePrivateKey,
    ) -> Result<Vec<u8>, Error> {
        self.setup_opener(enc, info, secret_key)?.open(aad, ciphertext)
    }

    fn setup_opener(
        &self,
        enc: &EncapsulatedSecret,
        info: &[u8],
        secret_key: &HpkePrivateKey,
    ) -> Result<Box<dyn HpkeOpener + 'static>, Error> {
        let key = PrivateKey::from_bytes(secret_key.secret_bytes()).map_err(told)?;
        let encapsulated = Encapsulated::from_bytes(&enc.0).map_err(told)?;
        let receiver =
            setup_receiver::<A, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &key, &encapsulated, info);
        Ok(Box::new(Opener(receiver.map_err(told)?)))
    }

    fn generate_key_pair(&self) -> Result<(HpkePublicKey, HpkePrivateKey), Error> {
        let (private, public) = X25519HkdfSha256::gen_keypair();
        Ok((HpkePublicKey(public.to_bytes().to_vec()), HpkePrivateKey::from(private.to_bytes().to_vec())))
    }

    fn suite(&self) -> HpkeSuite {
        let sym =
            HpkeSymmetricCipherSuite { kdf_id: HpkeKdf::HKDF_SHA256, aead_id: HpkeAead::from(A::AEAD_ID) };
        HpkeSuite { kem: HpkeKem::DHKEM_X25519_HKDF_SHA256, sym }
    }
}

struct Sealer<A: Aead>(AeadCtxS<A, HkdfSha256, X25519HkdfSha256>);

impl<A: Aead + 'static> HpkeSealer for Sealer<A> {
    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.seal(plaintext, aad).map_err(told)
    }
}

impl<A: Aead> fmt::Debug for Sealer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

struct Opener<A: Aead>(AeadCtxR<A, HkdfSha256, X25519HkdfSha256>);

impl<A: Aead + 'static> HpkeOpener for Opener<A> {
    fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.open(ciphertext, aad).map_err(told)
    }
}

impl<A: Aead> fmt::Debug for Opener<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

fn told(error: HpkeError) -> Error {
    Error::General(format!("HPKE: {error}"))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    /// The plaintext of all vectors.
    const PLAIN: &[u8] = b"Beauty is truth, truth beauty";

    /// A suite, the recipient's private key, the encapsulated key, and what two messages are encrypted to (RFC 9180,
    /// appendices A.1.1 and A.2.1).
    const VECTORS: [(usize, &str, &str, [&str; 2]); 2] = [
        (
            0,
            "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
            "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
            [
                "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
                "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84",
            ],
        ),
        (
            1,
            "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
            [
                "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
                "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c",
            ],
        ),
    ];

    #[test]
    fn the_vectors_of_the_rfc_are_opened() {
        let info = b"Ode on a Grecian Urn";
        for (suite, secret, enc, [first, second]) in VECTORS {
            let secret = HpkePrivateKey::from(hex(secret));
            let enc = EncapsulatedSecret(hex(enc));
            let mut opener = SUITES[suite].setup_opener(&enc, info, &secret).unwrap();
            assert_eq!(opener.open(b"Count-0", &hex(first)).unwrap(), PLAIN);
            assert!(opener.open(b"Count-2", &hex(second)).is_err());
            assert_eq!(opener.open(b"Count-1", &hex(second)).unwrap(), PLAIN);
            assert_eq!(SUITES[suite].open(&enc, info, b"Count-0", &hex(first), &secret).unwrap(), PLAIN);
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_alone() {
        for suite in SUITES {
            let (public, private) = suite.generate_key_pair().unwrap();
            let (_, other) = suite.generate_key_pair().unwrap();
            let (enc, mut sealer) = suite.setup_sealer(b"info", &public).unwrap();
            let messages = [sealer.seal(b"a", PLAIN).unwrap(), sealer.seal(b"b", PLAIN).unwrap()];
            let mut opener = suite.setup_opener(&enc, b"info", &private).unwrap();
            assert_eq!(opener.open(b"a", &messages[0]).unwrap(), PLAIN);
            assert_eq!(opener.open(b"b", &messages[1]).unwrap(), PLAIN);
            assert!(suite.open(&enc, b"info", b"a", &messages[0], &other).is_err());
            assert!(suite.open(&enc, b"else", b"a", &messages[0], &private).is_err());
            let (enc, once) = suite.seal(b"info", b"a", PLAIN, &public).unwrap();
            assert_eq!(suite.open(&enc, b"info", b"a", &once, &private).unwrap(), PLAIN);
        }
    }

    #[test]
    fn suites_are_told_apart_and_bad_keys_refused() {
        let aeads: Vec<HpkeAead> = SUITES.iter().map(|suite| suite.suite().sym.aead_id).collect();
        assert_eq!(aeads, [HpkeAead::AES_128_GCM, HpkeAead::CHACHA20_POLY_1305, HpkeAead::AES_256_GCM]);
        for key in [&[][..], &[1; 31], &[0; 32]] {
            let error = AES_128.setup_sealer(b"", &HpkePublicKey(key.to_vec())).err().unwrap();
            assert!(error.to_string().contains("HPKE"), "{error}");
        }
    }
}
