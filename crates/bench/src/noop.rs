//! A module of kinds that do nothing: what is measured with them is everything around a measurement.
//!
//! This program is the module's too: a manifest in `modules.d/` names it with [`ROLE`]. It uses the module runtime as
//! `mmn module` does. `--sleep-ms N` makes every task of an instance take so long, whatever its parameters say.

use std::ffi::OsString;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use mmn_kit::{Context, Cost, Failure, Kind, Measured, Registered, SessionKind, Summary};
use mmn_node::module::{self, ModuleArgs};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The argument that makes this program a module.
pub(crate) const ROLE: &str = "--noop";

/// How long each task takes, as the manifest says.
static SLEEP: OnceLock<Duration> = OnceLock::new();

/// Nothing is measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// How long a task takes, in milliseconds.
    sleep_ms: u64,
}

/// About what a small measurement finds: 12 fields, 128 bytes of CBOR.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Body {
    sent: u32,
    received: u32,
    lost: u32,
    duplicates: u32,
    rtt_min: u64,
    rtt_avg: u64,
    rtt_max: u64,
    deviation: u64,
    ttl: u8,
    size: u16,
    stamps: String,
    source: String,
}

impl Body {
    fn new() -> Self {
        Self {
            sent: 3,
            received: 3,
            lost: 0,
            duplicates: 0,
            rtt_min: 11_234_567,
            rtt_avg: 12_345_678,
            rtt_max: 13_456_789,
            deviation: 912_345,
            ttl: 57,
            size: 64,
            stamps: "kernel".to_owned(),
            source: "192.0.2.1".to_owned(),
        }
    }
}

macro_rules! noop {
    ($kind:ident, $name:literal) => {
        /// A kind that does nothing.
        #[derive(Debug)]
        struct $kind;

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
            const DESCRIPTION: &'static str = "Nothing, or a pause: what a measurement costs around itself.";
            const MODULE: &'static str = $name;

            type Params = Params;
            type Body = Body;

            fn summary_fields() -> Vec<SummaryField> {
                Vec::new()
            }

            fn check(_: &Params) -> Result<(), String> {
                Ok(())
            }

            fn cost(params: &Params) -> Cost {
                Cost { packets: 0, bytes: 0, duration_ns: params.sleep_ms * 1_000_000 }
            }
        }

        impl SessionKind for $kind {
            async fn run(_: &dyn Context, params: &Params, _: &Input) -> Result<Measured<Body>, Failure> {
                let pause = SLEEP.get().copied().unwrap_or(Duration::from_millis(params.sleep_ms));
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Ok(Measured { answered: None, summary: Summary::new(), body: Body::new() })
            }
        }
    };
}

noop!(Noop, "noop");
noop!(Limited, "limited");

const KINDS: &[&dyn Registered] = &[&mmn_kit::session::<Noop>(), &mmn_kit::session::<Limited>()];

/// Runs as a module to its end. `--kind NAME` chooses the kind.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let mut module = ModuleArgs::from_env(&[])?;
    let mut kind = Noop::NAME.to_owned();
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { anyhow::bail!("an argument without a value") };
        let value = value.to_str().context("an argument is not UTF-8")?;
        match name.to_str() {
            Some("--sleep-ms") => drop(SLEEP.set(Duration::from_millis(value.parse()?))),
            Some("--kind") => value.clone_into(&mut kind),
            _ => anyhow::bail!("{} {value} is no argument of the module", name.display()),
        }
    }
    module.kinds =
        KINDS.iter().filter(|known| known.name() == kind).map(|kind| module::Kind::from(*kind)).collect();
    let shutdown = CancellationToken::new();
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build_local(LocalOptions::default())?.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let told = shutdown.clone();
        tokio::spawn(async move {
            term.recv().await;
            told.cancel();
        });
        // As a task: the future that the runtime itself waits for asks the system for news at each wake.
        tokio::task::spawn_local(module::run(module, shutdown)).await??;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_size_of_the_yardstick() {
        let body = mmn_kit::Body::of(&Body::new()).unwrap();
        assert!((120..=140).contains(&body.cbor().len()), "{} bytes", body.cbor().len());
    }
}
