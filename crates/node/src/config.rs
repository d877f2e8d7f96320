//! What a node is told: by the command line ([`Config`]), and by the files of its directory ([`Place`] is `node.toml`).

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mmn_bus::connect::Tls;
use mmn_bus::launch::Launcher;
use mmn_schema::id::VpId;
use mmn_schema::subject::Prefix;
use mmn_schema::vp::{Location, VantagePoint};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::host;
use crate::module::Kind;
use crate::net::network::Network;
use crate::policy::Policy;

/// The local key of a node's only vantage point.
pub const DEFAULT_LOCAL_KEY: &str = "main";

/// How a node runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its directory: `node.toml`, `policy.toml`, `modules.d/`, `run/`. What is not there is made.
    pub dir: PathBuf,
    /// The directory of its credentials: `nats.creds`, `vps.json`.
    pub creds: PathBuf,
    /// Where NATS is.
    pub urls: Vec<String>,
    /// Certificates for NATS.
    pub tls: Tls,
    /// The first token of the network's subjects.
    pub prefix: Prefix,
    /// How children are started.
    pub launcher: Launcher,
    /// How this program runs a module: it is called with these and the module's name behind, as in `mmn module dns`.
    pub module_command: Vec<OsString>,
    /// What modules of this program have in their environment besides, unless a manifest says otherwise.
    pub module_env: Vec<(String, String)>,
    /// The modules of this program, each run without a manifest unless one of the same name overrides it.
    pub builtins: Vec<Builtin>,
    /// What the site allows where there is no `policy.toml`.
    pub policy: Policy,
    /// What the place is where there is no `node.toml`.
    pub place: Place,
    /// Whether modules come and go with `modules.d/`; a node that was started for given modules alone does not look.
    pub watch: bool,
    /// How long a module's process may run without being heard on the bus until that is told.
    pub silence: Duration,
    /// Where the vantage point is; none: this host.
    pub elsewhere: Option<Elsewhere>,
}

/// A vantage point that is not this host. Its modules have no processes of their own: they run in the node's.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// What it is.
    pub what: Whereabouts,
    /// The kinds that it offers. One module has all of them: where there are many vantage points each costs a connection.
    pub kinds: Vec<Kind>,
    /// How often it and its module say that they are there: where there are many, less often than a host does.
    pub heartbeat: Duration,
}

/// What a vantage point is that is not this host.
#[derive(Debug, Clone)]
pub enum Whereabouts {
    /// One of a simulated world: its network there.
    Simulated(Network),
    /// A program of others, which measures by sockets of its own and is commanded by this process.
    Remote(Remote),
}

/// A program of others that makes a vantage point.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The addresses that it is known by.
    pub addresses: Vec<IpAddr>,
    /// How many tasks of each kind it is given at a time.
    pub concurrency: u32,
    /// Cancelled when it is gone without a word. The node ends then, and says no goodbye: the vantage point is lost.
    pub lost: CancellationToken,
}

impl Elsewhere {
    /// The network that its sockets would be in.
    pub(crate) fn network(&self) -> Network {
        match &self.what {
            Whereabouts::Simulated(network) => network.clone(),
            Whereabouts::Remote(_) => Network::Own,
        }
    }

    /// What is said of it as of any other program of others.
    pub(crate) const fn remote(&self) -> Option<&Remote> {
        match &self.what {
            Whereabouts::Simulated(_) => None,
            Whereabouts::Remote(remote) => Some(remote),
        }
    }

    /// Whether it is part of a simulated world.
    pub(crate) const fn is_simulated(&self) -> bool {
        matches!(self.what, Whereabouts::Simulated(_))
    }

    fn addresses(&self) -> Option<Vec<IpAddr>> {
        match &self.what {
            Whereabouts::Simulated(network) => network.addresses(),
            Whereabouts::Remote(remote) => Some(remote.addresses.clone()),
        }
    }
}

/// Long enough for a module to start on a busy machine.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(10);

impl Config {
    /// The same with absolute paths: children have directories of their own to work in.
    pub(crate) fn absolute(&self) -> std::io::Result<Self> {
        let mut config = self.clone();
        let Tls { ca, identity, .. } = &mut config.tls;
        let paths = [&mut config.dir, &mut config.creds];
        let certificates = ca.iter_mut().chain(identity.iter_mut().flat_map(|(cert, key)| [cert, key]));
        for path in paths.into_iter().chain(certificates) {
            *path = std::path::absolute(&path)?;
        }
        Ok(config)
    }
}

/// A module of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builtin {
    /// Its name: `packet`, `dns`, `http`.
    pub module: String,
    /// Its kinds; empty for all that belong to it.
    pub kinds: Vec<String>,
}

impl Builtin {
    /// The modules that `kinds` belong to.
    pub fn all_of(kinds: &[&'static dyn mmn_kit::Registered]) -> Vec<Self> {
        let names: std::collections::BTreeSet<&str> = kinds.iter().map(|kind| kind.module()).collect();
        names.into_iter().map(|name| Self { module: name.to_owned(), kinds: Vec::new() }).collect()
    }

    /// The modules that `words` name, each a module or a kind. Kinds of one module share its process.
    pub fn named(kinds: &[&'static dyn mmn_kit::Registered], words: &[String]) -> Result<Vec<Self>, String> {
        let mut found: std::collections::BTreeMap<&str, Vec<String>> = std::collections::BTreeMap::new();
        for word in words {
            if let Some(kind) = kinds.iter().find(|kind| kind.name() == word) {
                found.entry(kind.module()).or_default().push(word.clone());
            } else if let Some(kind) = kinds.iter().find(|kind| kind.module() == word) {
                let all = kinds.iter().filter(|other| other.module() == kind.module());
                found.entry(kind.module()).or_default().extend(all.map(|kind| kind.name().to_owned()));
            } else {
                return Err(format!("{word:?} is neither a kind nor a module of this program"));
            }
        }
        Ok(found
            .into_iter()
            .map(|(module, mut kinds)| {
                kinds.sort();
                kinds.dedup();
                Self { module: module.to_owned(), kinds }
            })
            .collect())
    }
}

/// What a host says of its vantage point: `node.toml`. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    /// Its name, unique in the network; the host's own unless given.
    pub name: String,
    /// What its id is derived from, with the node's key. To change it is to become another vantage point.
    pub local_key: String,
    /// ISO 3166-1 alpha-2, upper case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// `AF`, `AN`, `AS`, `EU`, `NA`, `OC` or `SA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continent: Option<String>,
    /// The city by its English name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Degrees north, WGS 84.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east, WGS 84.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// The number of its AS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// The name of that AS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_name: Option<String>,
    /// Whatever else selections may go by.
    pub tags: Vec<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            name: host::name(),
            local_key: DEFAULT_LOCAL_KEY.to_owned(),
            country: None,
            continent: None,
            city: None,
            latitude: None,
            longitude: None,
            asn: None,
            as_name: None,
            tags: Vec::new(),
        }
    }
}

const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

/// Why a file of the node's directory is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It can't be read or written.
    #[error("{} can't be read or made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says something that has no meaning.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        what: String,
    },
}

impl Place {
    /// Reads `node.toml`; where there is none, `default` holds.
    pub fn read(path: &Path, default: &Self) -> Result<Self, ConfigError> {
        let Some(text) = read(path)? else { return Ok(default.clone()) };
        Self::from_toml(&text).map_err(|what| ConfigError::Content { path: path.to_owned(), what })
    }

    /// Reads the text of `node.toml`.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let place: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        place.check()?;
        Ok(place)
    }

    /// The vantage point as the network sees it.
    pub(crate) fn vantage_point(&self, id: VpId, elsewhere: Option<&Elsewhere>) -> VantagePoint {
        VantagePoint {
            id,
            name: self.name.clone(),
            location: Location {
                country: self.country.clone(),
                continent: self.continent.clone(),
                city: self.city.clone(),
                latitude: self.latitude,
                longitude: self.longitude,
            },
            asn: self.asn,
            as_name: self.as_name.clone(),
            addresses: elsewhere.and_then(Elsewhere::addresses).unwrap_or_else(host::addresses),
            tags: self.tags.clone(),
            simulated: elsewhere.is_some_and(Elsewhere::is_simulated),
        }
    }

    fn check(&self) -> Result<(), String> {
        let upper = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if self.name.is_empty() || self.name.len() > 64 {
            return Err("name: 1 to 64 characters".to_owned());
        }
        if self.country.as_deref().is_some_and(|country| !upper(country)) {
            return Err("country: two upper-case letters, such as \"DE\"".to_owned());
        }
        if self.continent.as_deref().is_some_and(|continent| !CONTINENTS.contains(&continent)) {
            return Err(format!("continent: one of {}", CONTINENTS.join(", ")));
        }
        if self.latitude.is_some_and(|degrees| !(-90.0..=90.0).contains(&degrees)) {
            return Err("latitude: -90 to 90".to_owned());
        }
        if self.longitude.is_some_and(|degrees| !(-180.0..=180.0).contains(&degrees)) {
            return Err("longitude: -180 to 180".to_owned());
        }
        if self.latitude.is_some() != self.longitude.is_some() {
            return Err("latitude and longitude: both or neither".to_owned());
        }
        Ok(())
    }
}

/// The text of a file; nothing where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::File { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_place_is_read_and_mistakes_are_named() {
        let place =
            Place::from_toml("name = \"lab-1\"\ncountry = \"DE\"\nasn = 3320\ntags = [\"dsl\"]").unwrap();
        assert_eq!((place.name.as_str(), place.local_key.as_str()), ("lab-1", DEFAULT_LOCAL_KEY));
        for (text, word) in [
            ("nmae = \"x\"", "nmae"),
            ("country = \"Germany\"", "country"),
            ("continent = \"Europe\"", "continent"),
            ("latitude = 91.0\nlongitude = 0.0", "latitude"),
            ("latitude = 1.0", "both"),
            ("name = \"\"", "name"),
        ] {
            assert!(Place::from_toml(text).unwrap_err().contains(word), "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}") {
            let _ = Place::from_toml(&text);
        }
    }
}
