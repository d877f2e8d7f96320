//! A server with ECH (RFC 9849, section 7). rustls has none, so that one is made of two: this file decrypts, puts the
//! inner hello in place of the outer one, and has rustls answer it with the random that says *accepted*.
//!
//! That random confirms the `ServerHello` that it stands in. So the handshake is begun twice, with the same key
//! exchange: once for the `ServerHello` without confirmation, and once with it, before the client.

use std::cell::RefCell;
use std::io::Cursor;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use hpke::aead::{Aead, AesGcm128, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, Serializable, setup_receiver};
use ring::hmac;
use rustls::crypto::ring as provided;
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::{NamedGroup, ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::hello::{Hello, Offered};
use crate::https::Pki;

/// Keys for ECH, and the configuration that tells them.
pub(super) struct Keys {
    secret: Vec<u8>,
    config: Vec<u8>,
}

impl Keys {
    pub(super) fn new(outer_name: &str, aead: u16) -> Self {
        let (secret, public) = X25519HkdfSha256::derive_keypair(&[7; 32]);
        let config = config(&public.to_bytes(), aead, outer_name);
        Self { secret: secret.to_bytes().to_vec(), config }
    }

    /// What an HTTPS record would tell.
    pub(super) fn list(&self) -> Vec<u8> {
        [&u16::try_from(self.config.len()).unwrap().to_be_bytes(), &self.config[..]].concat()
    }

    /// The inner hello of an outer one.
    fn open(&self, outer: &[u8]) -> Hello {
        let offered = Offered::read(outer);
        let plain = match offered.aead {
            1 => self.decrypt::<AesGcm128>(&offered),
            2 => self.decrypt::<AesGcm256>(&offered),
            3 => self.decrypt::<ChaCha20Poly1305>(&offered),
            other => panic!("AEAD {other}"),
        };
        Hello::read(outer).complete(&plain)
    }

    fn decrypt<A: Aead>(&self, offered: &Offered) -> Vec<u8> {
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&self.secret).unwrap();
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&offered.encapsulated).unwrap();
        let info = [b"tls ech\0", &self.config[..]].concat();
        setup_receiver::<A, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &secret, &enc, &info)
            .unwrap()
            .open(&offered.payload, &offered.outside)
            .expect("it is encrypted to this key")
    }
}

/// A configuration (section 4) for one suite.
pub(super) fn config(key: &[u8], aead: u16, outer_name: &str) -> Vec<u8> {
    let mut contents = vec![1, 0, 0x20, 0, u8::try_from(key.len()).unwrap()];
    contents.extend_from_slice(key);
    contents.extend([0, 4, 0, 1]);
    contents.extend(aead.to_be_bytes());
    contents.extend([0, u8::try_from(outer_name.len()).unwrap()]);
    contents.extend_from_slice(outer_name.as_bytes());
    contents.extend([0, 0]);
    let length = u16::try_from(contents.len()).unwrap();
    [&[0xfe, 0x0d][..], &length.to_be_bytes(), &contents].concat()
}

/// The hellos that a server saw.
pub(super) type Seen = Rc<RefCell<Vec<Hello>>>;

/// Reads the record of a `ClientHello`: the record, and the body of its message.
pub(super) async fn hello(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, Vec<u8>) {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record).await.unwrap();
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..]).await.unwrap();
    assert_eq!(record[5], 1, "a ClientHello");
    let body = record[9..].to_vec();
    (record, body)
}

/// Accepts a connection with ECH: what was outside is seen first, what was inside second.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    keys: &Keys,
    pki: &Pki,
    seen: &Seen,
    mut stream: S,
) -> std::io::Result<TlsStream<impl AsyncRead + AsyncWrite + Unpin + use<S>>> {
    let (_, outer) = hello(&mut stream).await;
    let inner = keys.open(&outer);
    seen.borrow_mut().extend([Hello::read(&outer), inner.clone()]);
    let message = inner.message();
    let record = [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();

    let replay: &'static Replay = Box::leak(Box::default());
    let mut random = [0x5a; 32];
    random[24..].fill(0);
    let mut rehearsal = ServerConnection::new(config_of(pki, replay, random)).unwrap();
    rehearsal.read_tls(&mut &record[..]).unwrap();
    rehearsal.process_new_packets().unwrap();
    let mut answer = Vec::new();
    rehearsal.write_tls(&mut answer).unwrap();
    let length = usize::from(u16::from_be_bytes([answer[3], answer[4]]));
    let server_hello = &answer[5..5 + length];
    random[24..].copy_from_slice(&confirmation(&inner, &message, server_hello));

    let (read, write) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(record).chain(read), write);
    TlsAcceptor::from(config_of(pki, replay, random)).accept(stream).await
}

/// The last bytes of the random of a server that accepts (section 7.2).
fn confirmation(inner: &Hello, message: &[u8], server_hello: &[u8]) -> [u8; 8] {
    let transcript = Sha256::new().chain_update(message).chain_update(server_hello).finalize();
    let mac =
        |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let secret = mac(&[0; 32], inner.random());
    let label = b"tls13 ech accept confirmation";
    let lengths = [[0, 8, u8::try_from(label.len()).unwrap()].as_slice(), label, &[32]].concat();
    let expanded = mac(&secret, &[&lengths[..], &transcript, &[1]].concat());
    expanded[..8].try_into().unwrap()
}

fn config_of(pki: &Pki, replay: &'static Replay, random: [u8; 32]) -> Arc<ServerConfig> {
    let provider = CryptoProvider {
        cipher_suites: vec![provided::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![replay],
        secure_random: Box::leak(Box::new(Fixed(random))),
        ..provided::default_provider()
    };
    Arc::new(pki.server(provider))
}

/// Gives one random to a `ServerHello`.
#[derive(Debug)]
struct Fixed([u8; 32]);

impl SecureRandom for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        match <&mut [u8; 32]>::try_from(&mut *bytes) {
            Ok(whole) => *whole = self.0,
            Err(_) => bytes.fill(0x33),
        }
        Ok(())
    }
}

/// A key exchange that gives the second time what it gave the first time.
#[derive(Debug, Default)]
struct Replay(Mutex<Option<(Vec<u8>, Vec<u8>)>>);

impl SupportedKxGroup for Replay {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        provided::kx_group::X25519.start()
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, rustls::Error> {
        let mut given = self.0.lock().unwrap();
        let (pub_key, secret) = if let Some(given) = given.take() {
            given
        } else {
            let first = provided::kx_group::X25519.start_and_complete(peer)?;
            (first.pub_key, first.secret.secret_bytes().to_vec())
        };
        *given = Some((pub_key.clone(), secret.clone()));
        Ok(CompletedKeyExchange { group: NamedGroup::X25519, pub_key, secret: SharedSecret::from(secret) })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
