//! The server's configuration. Its format is a superset of JSON, so JSON it is: quoting is then
//! nobody's concern.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::ServerOptions;

/// The names below the data directory.
pub(super) const CONFIG: &str = "nats-server.conf";
pub(super) const LOG: &str = "nats-server.log";
pub(super) const STDERR: &str = "nats-server.err";
pub(super) const STORE: &str = "store";

/// The configuration with `port`, or with a free one, which the server writes into `ports_dir`.
pub(super) fn generate(options: &ServerOptions, port: Option<u16>, ports_dir: &Path) -> String {
    let trust = &options.trust;
    let (system, system_jwt) = &trust.system;
    let (account, account_jwt) = &trust.account;
    let mut preload = Map::new();
    preload.insert(system.to_string(), system_jwt.as_str().into());
    preload.insert(account.to_string(), account_jwt.as_str().into());
    let mut jetstream = json!({
        "store_dir": options.data_dir.join(STORE),
        "max_file_store": options.max_file_bytes,
        "max_memory_store": options.max_memory_bytes,
    });
    let mut config = json!({
        "server_name": format!("mmn-{}", short(account.as_str())),
        "host": options.host,
        "port": port.map_or(-1, i32::from),
        "ports_file_dir": ports_dir,
        "pid_file": options.pid_file(),
        "log_file": options.data_dir.join(LOG),
        "logfile_size_limit": 16 * 1024 * 1024,
        "logfile_max_num": 3,
        "operator": trust.operator.as_str(),
        "system_account": system.as_str(),
        "resolver": "MEMORY",
        "resolver_preload": preload,
        "ping_interval": "5s",
        "ping_max": 2,
        // Who reads nothing for so long is cut off: its messages would only pile up.
        "write_deadline": "5s",
        // All of a large network may announce itself at once.
        "max_pending": 256 * 1024 * 1024,
        "max_connections": options.max_connections.get(),
        "max_payload": options.max_payload_bytes,
        "lame_duck_duration": "30s",
        "lame_duck_grace_period": "1s",
    });
    if options.sync_always {
        set(&mut jetstream, "sync_interval", "always".into());
    }
    set(&mut config, "jetstream", jetstream);
    if options.monitoring {
        set(&mut config, "http", "127.0.0.1:-1".into());
    }
    if let Some(tls) = &options.tls {
        let mut block = json!({ "cert_file": tls.certificate, "key_file": tls.key });
        if let Some(ca) = &tls.client_ca {
            set(&mut block, "ca_file", json!(ca));
            set(&mut block, "verify", true.into());
        }
        set(&mut config, "tls", block);
    }
    format!("{config:#}\n")
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Enough of a key to tell servers apart in their logs.
fn short(key: &str) -> String {
    key.chars().take(8).collect()
}
