//! A kind that does what its parameters say.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of it, and what fails in it fails the test"
)]

use mmn_kit::{
    Context, Cost, Failure, FarEnd, Kind, Measured, Number, Registered, SelfTest, SessionKind, code, session,
    summary,
};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

thread_local! {
    /// Tasks that hold wait here; tests and their modules share a thread.
    pub static GATE: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    /// Whether the far end of the fickle kind's self-test answers as it should.
    pub static PASSES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

pub static KINDS: &[&dyn Registered] = &[&session::<Note>()];
/// A kind whose self-test passes when it is told to.
pub static FICKLE: &[&dyn Registered] = &[&session::<Fickle>()];

/// The kind.
pub struct Note;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteParams {
    #[serde(default)]
    pub does: Does,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Does {
    #[default]
    Answer,
    Hold,
    Wait,
    Panic,
    Fail,
    Resolve,
    Connect,
    Large,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NoteBody {
    pub text: String,
}

impl Kind for Note {
    const NAME: &'static str = "note";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str = "does what its parameters say";
    const MODULE: &'static str = "notes";
    type Params = NoteParams;
    type Body = NoteBody;

    fn summary_fields() -> Vec<SummaryField> {
        Vec::new()
    }

    fn check(_: &NoteParams) -> Result<(), String> {
        Ok(())
    }

    fn cost(_: &NoteParams) -> Cost {
        Cost { packets: 2, bytes: 100, duration_ns: 5 }
    }
}

impl SessionKind for Note {
    async fn run(
        context: &dyn Context,
        params: &NoteParams,
        input: &Input,
    ) -> Result<Measured<NoteBody>, Failure> {
        let mut text = input.to_string();
        match params.does {
            Does::Answer => {}
            Does::Hold => {
                let gate = GATE.with(|gate| *gate);
                gate.acquire().await.expect("never closed").forget();
            }
            Does::Wait => {
                let until = context.now() + mmn_probe::time::Nanos::from_millis(20);
                context.sleep_until(until).await;
            }
            Does::Panic => panic!("as asked"),
            Does::Fail => return Err(Failure::failed(code::NO_ROUTE, "as asked")),
            Does::Resolve => {
                let resolution = context.resolve(&text, mmn_kit::Family::Any).await?;
                text = resolution.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            }
            Does::Connect => {
                let stream = context.connect(text.parse().expect("an address")).await?;
                text = stream.local_addr().expect("it is connected").ip().to_string();
            }
            Does::Large => text = "x".repeat(300_000),
        }
        Ok(Measured {
            answered: Some(true),
            summary: summary([("n", Some(Number::Integer(1)))]),
            body: NoteBody { text },
        })
    }
}

/// A kind that asks a far end whether it passes.
pub struct Fickle;

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct FickleParams {}

impl Kind for Fickle {
    const NAME: &'static str = "fickle";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str = "passes when it is told to";
    const MODULE: &'static str = "notes";
    type Params = FickleParams;
    type Body = NoteBody;

    fn summary_fields() -> Vec<SummaryField> {
        Vec::new()
    }

    fn check(_: &FickleParams) -> Result<(), String> {
        Ok(())
    }

    fn cost(_: &FickleParams) -> Cost {
        Cost::default()
    }

    fn self_test() -> Option<SelfTest<FickleParams>> {
        let answer = |_: &[u8]| Some(vec![u8::from(PASSES.with(std::cell::Cell::get))]);
        let task = |far_end: std::net::SocketAddr| (FickleParams {}, Input::Target(far_end.to_string()));
        Some(SelfTest { far_end: FarEnd::Datagrams(answer), task })
    }
}

impl SessionKind for Fickle {
    async fn run(
        context: &dyn Context,
        _: &FickleParams,
        input: &Input,
    ) -> Result<Measured<NoteBody>, Failure> {
        let socket = context.datagrams(input.to_string().parse().expect("an address"))?;
        socket.send(b"well?").await?;
        let mut answer = [0; 1];
        socket.receive(&mut answer).await?;
        if answer == [0] {
            return Err(Failure::failed(code::PROTOCOL, "not today"));
        }
        Ok(Measured { answered: Some(true), summary: summary([]), body: NoteBody { text: String::new() } })
    }
}
