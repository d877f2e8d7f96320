//! Announces: who says so proves it with the key that was registered for it.

use std::path::PathBuf;

use async_nats::HeaderMap;
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use mmn_bus::identity::{Creds, CredsError};
use mmn_schema::announce::{Announcement, JWT_HEADER, SIGNATURE_HEADER};
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};

/// Signs with a credentials file, which is read again each time: it may have been renewed.
#[derive(Debug, Clone)]
pub(crate) struct Herald {
    creds: PathBuf,
}

/// Why an announcement was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("the credentials")]
    Creds(#[from] CredsError),
    #[error("the key does not sign")]
    Key(#[from] mmn_bus::identity::NkeyError),
    #[error(transparent)]
    Encode(#[from] mmn_schema::encoding::EncodeError),
}

impl Herald {
    pub(crate) const fn new(creds: PathBuf) -> Self {
        Self { creds }
    }

    /// The announcement as a message: headers and payload.
    pub(crate) fn sign(&self, announcement: &Announcement) -> Result<(HeaderMap, Bytes), SignError> {
        let creds = Creds::read(&self.creds)?;
        let payload = Encoding::Cbor.encode(announcement)?;
        let signature = creds.seed.sign(&payload)?;
        let mut headers = headers(Encoding::Cbor);
        headers.insert(JWT_HEADER, creds.jwt.as_str());
        headers.insert(SIGNATURE_HEADER, BASE64URL_NOPAD.encode(&signature));
        Ok((headers, payload.into()))
    }
}

/// The headers that a message in `encoding` needs: CBOR, of which there is much, is known by its first byte.
pub(crate) fn needed(encoding: Encoding) -> Option<HeaderMap> {
    (encoding == Encoding::Json).then(|| headers(encoding))
}

/// The headers of a message in `encoding`.
pub(crate) fn headers(encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, encoding.content_type());
    headers
}

/// The encoding of a message that came.
pub(crate) fn encoding_of(message: &async_nats::Message) -> Option<Encoding> {
    let content_type = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get(CONTENT_TYPE))
        .map(async_nats::HeaderValue::as_str);
    Encoding::of(content_type, &message.payload).ok()
}
