//! How a client finds the API of the `mmn up` that runs on this machine.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::transport::Origin;
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
        Self::at(&ApiFile::read(data_dir)?.url, None, None, Some(data_dir))
    }

    /// A client of the API at `url` that shows `token` and trusts the certificates in `ca`.
    ///
    /// Where these are not given, those of the `mmn up` that runs on `data_dir` are taken for its own API, which is at the
    /// very URL (scheme, host and port) that its [`API_FILE`] says. No other API is ever shown its token.
    pub fn at(
        url: &str,
        token: Option<&str>,
        ca: Option<&Path>,
        data_dir: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let (origin, _) = Origin::read(url)?;
        let local = data_dir.and_then(|dir| Some((dir, ApiFile::read(dir).ok()?)));
        let local = local.filter(|(_, api)| Origin::read(&api.url).is_ok_and(|(own, _)| own == origin));
        let found = match (token, &local) {
            (None, Some((dir, _))) => own_token(dir)?,
            _ => None,
        };
        let own_ca = local.as_ref().and_then(|(_, api)| api.tls_ca.as_deref());
        let trust = ca.or(own_ca).map_or(Trust::System, |ca| Trust::File(ca.to_owned()));
        Self::new(url, token.or(found.as_deref()), &trust)
    }
}

/// The token for this machine's own clients, where there is one.
fn own_token(data_dir: &Path) -> Result<Option<String>, ClientError> {
    let path = data_dir.join(TOKEN_FILE);
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClientError::File { path, source }),
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
    #[test]
    fn the_token_of_this_machine_goes_to_its_own_api_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("creds")).unwrap();
        std::fs::write(dir.path().join(TOKEN_FILE), "secret\n").unwrap();
        let shown = |url: &str, token| {
            Client::at(url, token, None, Some(dir.path())).unwrap().authorization().unwrap_or_default()
        };
        // Nothing says where its API is.
        assert_eq!(shown("http://127.0.0.1:8677", None), "");

        let api = ApiFile { url: "http://127.0.0.1:8677".into(), pid: 1, tls_ca: None, nats: None };
        std::fs::write(dir.path().join(API_FILE), serde_json::to_vec(&api).unwrap()).unwrap();
        assert_eq!(shown("http://127.0.0.1:8677/", None), "Bearer secret");
        assert_eq!(shown("http://127.0.0.1:8677", Some("other")), "Bearer other");
        for elsewhere in [
            "https://127.0.0.1:8677",
            "http://127.0.0.1:8678",
            "http://127.0.0.1",
            "http://127.0.0.1.example.net:8677",
            "https://mmn.example.net",
        ] {
            assert_eq!(shown(elsewhere, None), "", "{elsewhere}");
            assert_eq!(shown(elsewhere, Some("other")), "Bearer other", "{elsewhere}");
        }
    }
}
