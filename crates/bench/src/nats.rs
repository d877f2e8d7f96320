//! Connections to the nats-server of a running `mmn up`, with the credentials of its data directory.

use std::path::Path;

use anyhow::Context;
use mmn_bus::connect::{Bus, Connect};

/// The URL of the nats-server that `mmn up` supervises.
pub(crate) fn url(data: &Path) -> anyhow::Result<String> {
    url_in(&data.join("nats/ports"))
}

/// The URL that a nats-server has written to a directory for its ports.
pub(crate) fn url_in(ports: &Path) -> anyhow::Result<String> {
    for entry in std::fs::read_dir(ports)? {
        let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        if let Some(url) = ports["nats"][0].as_str() {
            return Ok(url.to_owned());
        }
    }
    anyhow::bail!("no ports file in {}", ports.display())
}

/// A connection with the anchor's rights.
pub(crate) async fn as_anchor(data: &Path) -> anyhow::Result<Bus> {
    Connect::new(url(data)?, data.join("creds/anchor/nats.creds"), "bench").open().await.context("NATS")
}
