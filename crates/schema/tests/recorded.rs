//! Recorded messages of version 1 replay for ever.
//!
//! Each file of `contract/v1/recorded/` holds a message as some sender wrote it (`json`), the same in CBOR (`cbor`, in
//! hexadecimal digits), and the JSON that its type made of it when it was recorded (`means`). A file is never changed
//! and never removed: when this test fails, the types are wrong.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use mmn_schema::encoding::{self, Encoding};
use mmn_schema::{announce, api, control, dispatch, enrol, event, problem, rest, select, status, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Recorded {
    message: String,
    json: Value,
    cbor: String,
    means: Value,
}

type Replay = fn(&Recorded) -> Result<(), String>;

macro_rules! messages {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), replay::<$module::$name> as Replay)),*]
    };
}

const MESSAGES: &[(&str, Replay)] = messages![
    announce::Announcement,
    announce::Discover,
    announce::Heartbeat,
    api::KindView,
    api::Limits,
    api::Measurement,
    api::MeasurementRequest,
    api::ModuleView,
    api::Plan,
    api::ResultRecord,
    api::Rollup,
    api::TaskTrace,
    api::VpView,
    control::Control,
    control::Controlled,
    control::NodeAnswer,
    control::NodeOrder,
    dispatch::Receipt,
    dispatch::ResultBatch,
    dispatch::Synced,
    dispatch::TaskBatch,
    dispatch::ToInstance,
    enrol::EnrolAnswer,
    enrol::EnrolRequest,
    event::Event,
    problem::Problem,
    rest::InputsPage,
    rest::InputsTaken,
    rest::MoreInputs,
    rest::SelectRequest,
    rest::Selected,
    rest::SignIn,
    rest::SignInCode,
    rest::Status,
    rest::WhoAmI,
    select::Selection,
    status::Availability,
    status::AvailabilityTable,
    status::NetworkStatus,
    stream::FromAnchor,
    stream::FromClient,
];

/// Reads both encodings, finds the same in them, and writes it so that it reads the same again.
fn replay<T: DeserializeOwned + Serialize + PartialEq + Debug>(recorded: &Recorded) -> Result<(), String> {
    let show = |error: &dyn std::fmt::Display| error.to_string();
    let json = Encoding::Json.encode(&recorded.json).map_err(|e| show(&e))?;
    let cbor = HEXLOWER.decode(recorded.cbor.as_bytes()).map_err(|e| show(&e))?;
    let value: T = encoding::decode(Some("application/json"), &json).map_err(|e| show(&e))?;
    // A sender that names no encoding is understood too.
    for (content_type, bytes) in [(Some("application/cbor"), &cbor), (None, &cbor), (None, &json)] {
        let other: T = encoding::decode(content_type, bytes).map_err(|e| show(&e))?;
        if other != value {
            return Err(format!("{other:?} is not {value:?}"));
        }
    }
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let bytes = encoding.encode(&value).map_err(|e| show(&e))?;
        let again: T = encoding.decode(&bytes).map_err(|e| show(&e))?;
        if again != value {
            return Err(format!("{value:?} is written in {encoding:?} as {again:?}"));
        }
    }
    let written = serde_json::to_value(&value).map_err(|e| show(&e))?;
    missing(&recorded.means, &written, "").map_or(Ok(()), Err)
}

/// What of `facts` is not in `written`. Fields that came later may be there besides.
fn missing(facts: &Value, written: &Value, place: &str) -> Option<String> {
    match (facts, written) {
        (Value::Object(facts), Value::Object(written)) => facts.iter().find_map(|(name, fact)| {
            let place = format!("{place}/{name}");
            match written.get(name) {
                Some(written) => missing(fact, written, &place),
                None => Some(format!("{place} is gone")),
            }
        }),
        (Value::Array(facts), Value::Array(written)) if facts.len() == written.len() => {
            facts.iter().zip(written).enumerate().find_map(|(position, (fact, written))| {
                missing(fact, written, &format!("{place}/{position}"))
            })
        }
        _ if facts == written => None,
        _ => Some(format!("{place} is {written}, not {facts}")),
    }
}

#[test]
fn every_recorded_message_replays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/v1/recorded");
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let recorded: Recorded = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let Some((message, replay)) = MESSAGES.iter().find(|(message, _)| *message == recorded.message)
        else {
            wrong.push(format!("{name}: there is no message {}", recorded.message));
            continue;
        };
        seen.insert(*message);
        if let Err(error) = replay(&recorded) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    wrong.extend(
        MESSAGES
            .iter()
            .filter(|(name, _)| !seen.contains(name))
            .map(|(name, _)| format!("{name}: not recorded")),
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A few facts by hand, about the message that the others stand on.
#[test]
fn a_recorded_batch_of_results_says_what_it_said() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/v1/recorded/ResultBatch.two.json");
    let recorded: Recorded = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let bytes = HEXLOWER.decode(recorded.cbor.as_bytes()).unwrap();
    let batch: dispatch::ResultBatch = Encoding::Cbor.decode(&bytes).unwrap();
    assert_eq!(batch.instance.as_str(), "packet-k3w7qa");
    assert_eq!((batch.boot.0, batch.epoch.0, batch.seq, batch.free), (17, 2, 8, Some(61)));
    let [first, second] = batch.records.as_slice() else { panic!("two records") };
    assert!(first.last && first.answered == Some(true) && first.reason.is_none());
    assert_eq!(first.started_at.unix_ns(), 1_795_334_401_000_000_001);
    assert_eq!(first.body.to_json().unwrap().pointer("/replies/0/rtt_ns"), Some(&10_100_000.into()));
    assert!(!second.last);
    assert_eq!((second.attempt, second.part), (1, 2));
    assert_eq!(second.reason.as_ref().map(|reason| &*reason.code), Some("no-route"));
}
