//! The kind that is measured: it waits for as long as its parameters say, and fails where its input says so. This test's
//! own program is the module that performs it.

use mmn_kit::{Context, Cost, Failure, Kind, Measured, Registered, SessionKind, code, session};
use mmn_node::module::{ModuleArgs, run};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Its name, and that of its module.
pub(crate) const NAME: &str = "idle";
/// The test that is the module's process.
pub(crate) const PROCESS: &str = "module_process";
/// Inputs that begin so can't be measured.
pub(crate) const FAILS: &str = "fail";

struct Idle;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default)]
    takes_ms: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Body {
    input: String,
}

impl Kind for Idle {
    const NAME: &'static str = NAME;
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str = "waits";
    const MODULE: &'static str = NAME;
    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        Vec::new()
    }

    fn check(_: &Params) -> Result<(), String> {
        Ok(())
    }

    fn cost(params: &Params) -> Cost {
        Cost { packets: 0, bytes: 0, duration_ns: params.takes_ms * 1_000_000 }
    }
}

impl SessionKind for Idle {
    async fn run(_: &dyn Context, params: &Params, input: &Input) -> Result<Measured<Body>, Failure> {
        if params.takes_ms > 0 {
            tokio::time::sleep(Duration::from_millis(params.takes_ms)).await;
        }
        let input = input.to_string();
        if input.starts_with(FAILS) {
            return Err(Failure::failed(code::NO_ROUTE, "as asked"));
        }
        Ok(Measured { answered: Some(true), summary: mmn_kit::summary::<0>([]), body: Body { input } })
    }
}

static KINDS: &[&dyn Registered] = &[&session::<Idle>()];

/// Is the module, when a node has started this process as one.
pub(crate) fn be_module() {
    let Ok(args) = ModuleArgs::from_env(KINDS) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminated = signal(SignalKind::terminate()).unwrap();
        let asked = shutdown.clone();
        tokio::spawn(async move {
            terminated.recv().await;
            asked.cancel();
        });
        run(args, shutdown).await.unwrap();
    });
}
