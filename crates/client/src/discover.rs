//! How a client finds the API of the `mmn up` that runs on this machine.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Client, ClientError, Trust};

/// The file of a data directory that says where its API listens, while it does.
pub const API_FILE: &str = "api.json";
/// The file of a data directory that holds a bearer token for this machine's own clients.
pub const TOKEN_FILE: &str = "creds/client.token";

/// What stands in [`API_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiFile {
    /// Where the API listens.
    pub url: String,
    /// Who wrote it: the process that supervises it.
    pub pid: u32,
    /// The certificate that the API shows, when clients can not know it otherwise: a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<std::path::PathBuf>,
    /// Where the network's own nats-server listens, for roles of this machine that join; absent where it is one of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<String>,
}

impl ApiFile {
    /// Reads that of the `mmn up` that runs on `data_dir`.
    pub fn read(data_dir: &Path) -> Result<Self, ClientError> {
        let path = data_dir.join(API_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ClientError::NotRunning { data_dir: data_dir.to_owned() });
            }
            Err(source) => return Err(ClientError::File { path, source }),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::File { path, source: io::Error::other(error) })
    }
}

impl Client {
    /// A client of the `mmn up` that runs on `data_dir`, with the token that lies there.
    pub fn discover(data_dir: &Path) -> Result<Self, ClientError> {
        let api = ApiFile::read(data_dir)?;
        let path = data_dir.join(TOKEN_FILE);
        let token = match std::fs::read_to_string(&path) {
            Ok(token) => Some(token),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ClientError::File { path, source }),
        };
        Self::new(&api.url, token.as_deref(), &api.tls_ca.map_or(Trust::System, Trust::File))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_on_a_directory_is_found_there() {
        let dir = tempfile::tempdir().unwrap();
        let error = Client::discover(dir.path()).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");

        let api = ApiFile { url: "http://127.0.0.1:8677".into(), pid: 1, tls_ca: None, nats: None };
        std::fs::write(dir.path().join(API_FILE), serde_json::to_vec(&api).unwrap()).unwrap();
        std::fs::create_dir(dir.path().join("creds")).unwrap();
        std::fs::write(dir.path().join(TOKEN_FILE), "secret\n").unwrap();
        let client = Client::discover(dir.path()).unwrap();
        assert_eq!(client.url(), "http://127.0.0.1:8677");
        assert_eq!(client.authorization().as_deref(), Some("Bearer secret"));
        assert!(!format!("{client:?}").contains("secret"));
    }
}
