//! Makes a stream or a bucket, or brings an existing one to what is asked, and looks whether the
//! server understood: an older one drops what it does not know, and says nothing.

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind, RequestError, RequestErrorKind};
use async_nats::jetstream::{self, ErrorCode, kv, stream};
use serde_json::Value;

use crate::connect::Bus;

/// What a key-value bucket is to be.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name, `[A-Za-z0-9_-]`.
    pub name: String,
    /// How many values of a key are kept, 1 to 64.
    pub history: u8,
    /// How long a value is kept; for ever, when absent.
    pub max_age: Option<Duration>,
    /// The most it may hold, in bytes; unlimited, when absent. A full bucket refuses new values.
    pub max_bytes: Option<u64>,
    /// Files or memory.
    pub storage: stream::StorageType,
    /// On how many servers of a cluster.
    pub replicas: usize,
}

impl Bucket {
    /// One value per key, in files on one server, for ever.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            history: 1,
            max_age: None,
            max_bytes: None,
            storage: stream::StorageType::File,
            replicas: 1,
        }
    }
}

impl Bus {
    /// Makes the stream, or updates one of that name to `config`, and compares what the server
    /// has with what was asked.
    ///
    /// What `config` leaves at zero, empty or false is left to the server.
    pub async fn ensure_stream(&self, config: &stream::Config) -> Result<(), EnsureError> {
        let name = config.name.as_str();
        let api = self.jetstream();
        let has = if let Some(info) = self.find_stream(name).await? {
            info.config
        } else {
            let made = api.create_stream(config.clone()).await;
            made.map_err(|source| refused(name, source))?.cached_info().config.clone()
        };
        if difference(config, &has).is_none() {
            return Ok(());
        }
        let updated = api.update_stream(config).await;
        let updated = updated.map_err(|source| refused(name, source))?;
        match difference(config, &updated.config) {
            None => Ok(()),
            Some(field) => Err(EnsureError::Different { name: name.to_owned(), field }),
        }
    }

    /// The stream of that name, if it is there.
    pub async fn find_stream(&self, name: &str) -> Result<Option<stream::Info>, EnsureError> {
        match self.jetstream().get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(refused(name, source)),
        }
    }

    /// Opens the stream of that name.
    pub async fn open_stream(&self, name: &str) -> Result<stream::Stream, EnsureError> {
        self.jetstream().get_stream(name).await.map_err(|source| refused(name, source))
    }

    /// Makes the bucket, or updates one of that name, and opens it.
    pub async fn ensure_bucket(&self, bucket: &Bucket) -> Result<kv::Store, EnsureError> {
        // The library's own call wants fields of the account's information that not every server
        // sends; a bucket is a stream with this configuration.
        let config = stream::Config {
            name: format!("KV_{}", bucket.name),
            subjects: vec![format!("$KV.{}.>", bucket.name)],
            max_messages_per_subject: i64::from(bucket.history.clamp(1, 64)),
            max_age: bucket.max_age.unwrap_or_default(),
            max_bytes: bucket.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            discard: stream::DiscardPolicy::New,
            storage: bucket.storage,
            num_replicas: bucket.replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..stream::Config::default()
        };
        self.ensure_stream(&config).await?;
        self.jetstream()
            .get_key_value(bucket.name.as_str())
            .await
            .map_err(|source| refused(&bucket.name, source))
    }
}

fn is_absent(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// The first field in which `has` is not what `asked` wants.
fn difference(asked: &stream::Config, has: &stream::Config) -> Option<String> {
    let (asked, has) = (as_json(asked), as_json(has));
    let asked = asked.as_object()?;
    asked
        .iter()
        .find(|(field, asked)| !satisfied(asked, has.get(field.as_str())))
        .map(|(field, _)| field.clone())
}

fn as_json(config: &stream::Config) -> Value {
    // A configuration that has no JSON form can not be sent either.
    serde_json::to_value(config).unwrap_or_default()
}

fn satisfied(asked: &Value, has: Option<&Value>) -> bool {
    match asked {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) if number.as_i64() == Some(0) => true,
        Value::String(text) if text.is_empty() => true,
        // The server adds keys of its own to the metadata.
        Value::Object(asked) => {
            asked.iter().all(|(key, asked)| satisfied(asked, has.and_then(|has| has.get(key))))
        }
        Value::Array(list) if list.is_empty() => true,
        _ => has == Some(asked),
    }
}

fn refused(name: &str, source: impl std::error::Error + Send + Sync + 'static) -> EnsureError {
    EnsureError::Refused { name: name.to_owned(), source: Box::new(source) }
}

/// Why a stream or bucket is not there as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// The server refused, or did not answer.
    #[error("stream or bucket {name:?}")]
    Refused {
        /// Its name.
        name: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server did not understand part of it.
    #[error("stream {name:?}: the server did not take {field:?} as asked")]
    Different {
        /// Its name.
        name: String,
        /// The field, as in JetStream's JSON.
        field: String,
    },
}

/// JetStream's codes for a size that account, server or cluster can't reserve.
const NO_ROOM: [ErrorCode; 6] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::CLUSTER_NO_PEERS,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
];
/// JetStream's codes for its absence, on the server and in the account.
const NOT_ENABLED: [ErrorCode; 2] =
    [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];

impl EnsureError {
    /// Whether there is no room for so many bytes; there may be for fewer.
    pub fn is_for_want_of_room(&self) -> bool {
        self.jetstream().is_some_and(|error| NO_ROOM.contains(&error.error_code()))
    }

    /// Whether the server, or the account there, has no JetStream.
    pub fn is_without_jetstream(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        let silent =
            match (source.downcast_ref::<CreateStreamError>(), source.downcast_ref::<GetStreamError>()) {
                (Some(error), _) => error.kind() == CreateStreamErrorKind::JetStreamUnavailable,
                (_, Some(error)) => std::error::Error::source(error)
                    .and_then(|source| source.downcast_ref::<RequestError>())
                    .is_some_and(|error| error.kind() == RequestErrorKind::NoResponders),
                _ => false,
            };
        silent || self.jetstream().is_some_and(|error| NOT_ENABLED.contains(&error.error_code()))
    }

    /// What JetStream itself answered.
    fn jetstream(&self) -> Option<jetstream::Error> {
        let Self::Refused { source, .. } = self else { return None };
        if let Some(error) = source.downcast_ref::<CreateStreamError>()
            && let CreateStreamErrorKind::JetStream(error) = error.kind()
        {
            return Some(error);
        }
        match source.downcast_ref::<GetStreamError>()?.kind() {
            GetStreamErrorKind::JetStream(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_may_differ() {
        let asked = stream::Config { name: "S".into(), max_messages: 10, ..stream::Config::default() };
        let mut has =
            stream::Config { max_bytes: -1, duplicate_window: Duration::from_mins(2), ..asked.clone() };
        has.metadata.insert("_nats.level".into(), "0".into());
        assert_eq!(difference(&asked, &has), None);
        has.max_messages = 11;
        assert_eq!(difference(&asked, &has), Some("max_msgs".into()));
    }

    #[test]
    fn what_was_silently_dropped_is_noticed() {
        let mut asked = stream::Config::default();
        asked.metadata.insert("key".into(), "value".into());
        assert_eq!(difference(&asked, &stream::Config::default()), Some("metadata".into()));
    }
}
