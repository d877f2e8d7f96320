//! The rules, in the order in which a module meets them. R1 to R3 show in the rest: without them nothing comes.

mod credits;

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use mmn_bus::async_nats::Message;
use mmn_bus::identity::verify_signature;
use mmn_schema::announce::{
    Announcement, Heartbeat, InputShape, InstanceState, JWT_HEADER, KindInfo, ModuleInfo, Role,
    SIGNATURE_HEADER,
};
use mmn_schema::body::Body;
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Input, Receipt, ResultBatch, Task, TaskBatch, ToInstance};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{BootId, Epoch, MeasurementId};
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::Subject;
use serde_json::Value;

use super::stage::{self, Stage};
use super::{CheckArgs, Rule, Verdicts};
use crate::clock;
use crate::kinds;

/// How long a module may take to come up.
const COME: Duration = Duration::from_secs(10);
/// How long it may take to leave.
const LEAVE: Duration = Duration::from_secs(15);
/// How long an answer may take. An anchor gives up sooner; a busy machine shall not look like a broken module.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a task may take.
const TASK: Duration = Duration::from_secs(20);
const EPOCH: Epoch = Epoch(2);

const ANNOUNCE: Rule = Rule("R4", "announce");
const IDENTITY: Rule = Rule("R4", "announce-identity");
const SIGNATURE: Rule = Rule("R5", "announce-signature");
const KINDS: Rule = Rule("R4", "announce-kinds");
const HEARTBEAT: Rule = Rule("R6", "heartbeat");
const SERVICE: Rule = Rule("R21", "service");
const DISCOVER: Rule = Rule("R4", "discover");
const UNAVAILABLE: Rule = Rule("R20", "kind-unavailable");
const PARAMS: Rule = Rule("R9", "refuse-params");
const GARBAGE: Rule = Rule("R7", "garbage");
const RECEIPT: Rule = Rule("R8", "receipt");
const RESULT: Rule = Rule("R10", "result");
const CANCEL: Rule = Rule("R13", "cancel");
const DRAIN: Rule = Rule("R14", "drain");
const BYE: Rule = Rule("R14", "bye");
const QUOTE: Rule = Rule("R15", "quote");
const DRAINING: Rule = Rule("R14", "drain-heartbeat");

/// What a module has said of itself.
struct Known {
    boot: BootId,
    info: ModuleInfo,
    /// Counts batches to it.
    seq: u64,
}

/// Takes the module through all rules. A rule whose ground is missing is not judged.
pub(super) async fn play(stage: &mut Stage, args: &CheckArgs) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let Some(mut known) = announce(stage, &mut verdicts).await else { return verdicts };
    heartbeats(stage, &known, &mut verdicts).await;
    service(stage, &mut verdicts).await;
    discover(stage, &mut verdicts).await;
    let chosen: Vec<KindInfo> = known
        .info
        .kinds
        .iter()
        .filter(|kind| args.kind.as_ref().is_none_or(|wanted| *wanted == kind.name))
        .cloned()
        .collect();
    for kind in chosen {
        if let Some(unavailable) = &kind.unavailable {
            let why = format!("{}: not tried, the module says {}", kind.name, unavailable.reason);
            verdicts.note(UNAVAILABLE, Ok(why));
            continue;
        }
        garbage(stage, &kind, &mut known, &mut verdicts).await;
        task(stage, &kind, &mut known, args, &mut verdicts).await;
        quote(stage, &kind, args, &mut verdicts).await;
    }
    if let Some(credits) = known.info.credits {
        credits::play(stage, &mut known, credits, args, &mut verdicts).await;
    }
    cancel(stage, &mut verdicts).await;
    drain(stage, &mut verdicts).await;
    verdicts
}

/// R4 and R5.
async fn announce(stage: &mut Stage, verdicts: &mut Verdicts) -> Option<Known> {
    let Some(message) = stage::next(&mut stage.announcements, COME).await else {
        let why = match stage.status() {
            Some(status) => format!("it ended ({status}) without announcing itself"),
            None => format!("nothing on {} within {COME:?}", Subject::Announce.on(&stage.prefix)),
        };
        verdicts.note(ANNOUNCE, Err::<String, _>(why));
        return None;
    };
    let announcement: Announcement = match stage::decode(&message) {
        Ok(announcement) => announcement,
        Err(error) => {
            verdicts.note(ANNOUNCE, Err::<String, _>(error));
            return None;
        }
    };
    let Role::Module(info) = announcement.role else {
        verdicts.note(ANNOUNCE, Err::<String, _>("its role is not `module`".into()));
        return None;
    };
    let version = announcement.schema;
    let readable = mmn_schema::VERSION.reads(version);
    verdicts.note(
        ANNOUNCE,
        if readable {
            Ok(format!("schema {version}"))
        } else {
            Err(format!("schema {version} is another major version"))
        },
    );
    let (vp, instance) = (&announcement.vp, &announcement.instance);
    let itself = *vp == stage.vp && *instance == stage.instance;
    verdicts.note(
        IDENTITY,
        if itself {
            Ok(format!("{instance} at {vp}"))
        } else {
            Err(format!("it calls itself {instance} at {vp}; MMN_INSTANCE and MMN_VP say otherwise"))
        },
    );
    verdicts.note(SIGNATURE, signature(stage, &message));
    verdicts.note(KINDS, described(&info));
    Some(Known { boot: announcement.boot, info, seq: 0 })
}

fn signature(stage: &Stage, message: &Message) -> Result<String, String> {
    let header = |name: &str| {
        let headers = message.headers.as_ref();
        let value = headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
        value.ok_or_else(|| format!("the header {name} is missing"))
    };
    let jwt = header(JWT_HEADER)?;
    let claims =
        stage.trust.verify_user(&jwt, clock::wall_s()).map_err(|error| format!("{JWT_HEADER}: {error}"))?;
    let signature = header(SIGNATURE_HEADER)?;
    let signature = BASE64URL_NOPAD
        .decode(signature.trim_end_matches('=').as_bytes())
        .map_err(|_| format!("{SIGNATURE_HEADER}: not base64url"))?;
    verify_signature(&claims.subject, &message.payload, &signature)
        .map_err(|_| format!("{SIGNATURE_HEADER}: does not hold for the payload as it was sent"))?;
    if claims.name != stage.instance.as_str() {
        return Err(format!("the JWT is {}'s", claims.name));
    }
    Ok("signed with the key of its credentials".into())
}

fn described(info: &ModuleInfo) -> Result<String, String> {
    if info.kinds.is_empty() {
        return Err("it offers no kind".into());
    }
    for kind in &info.kinds {
        for (what, schema) in [("params", &kind.params), ("result", &kind.result)] {
            if !(schema.as_value().is_object() || schema.as_value().is_boolean()) {
                return Err(format!("{}: {what} is no JSON Schema", kind.name));
            }
        }
    }
    let names: Vec<_> = info.kinds.iter().map(|kind| kind.name.to_string()).collect();
    let credits = info.credits.map_or("without credits".to_owned(), |credits| format!("{credits} credits"));
    Ok(format!("{}, {credits}", names.join(" ")))
}

/// R6.
async fn heartbeats(stage: &mut Stage, known: &Known, verdicts: &mut Verdicts) {
    let mut last: Option<Heartbeat> = None;
    let own = Subject::Hb(stage.vp.clone(), stage.instance.clone()).on(&stage.prefix);
    for _ in 0..3 {
        // The first may be one that was sent before the boot was known.
        let Some(message) = stage::next(&mut stage.heartbeats, Duration::from_secs(3)).await else {
            verdicts.note(HEARTBEAT, Err::<String, _>(format!("nothing on {own} for 3 s")));
            return;
        };
        let heartbeat: Heartbeat = match stage::decode(&message) {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                verdicts.note(HEARTBEAT, Err::<String, _>(error));
                return;
            }
        };
        if heartbeat.boot != known.boot {
            verdicts.note(HEARTBEAT, Err::<String, _>("its boot is not that of the announcement".into()));
            return;
        }
        if last.as_ref().is_some_and(|last| heartbeat.seq <= last.seq) {
            verdicts.note(HEARTBEAT, Err::<String, _>("its seq does not grow".into()));
            return;
        }
        last = Some(heartbeat);
    }
    let interval = last.map_or(0, |heartbeat| heartbeat.interval_ms);
    verdicts.note(HEARTBEAT, Ok(format!("every {interval} ms")));
}

/// R21: the discovery of NATS services (ADR-32). It is optional.
async fn service(stage: &Stage, verdicts: &mut Verdicts) {
    let seen = stage.ask_plainly("$SRV.PING", ANSWER).await.and_then(|pong| {
        let kind = pong.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind != "io.nats.micro.v1.ping_response" {
            return Err(format!("the type of its answer is {kind:?}"));
        }
        Ok(format!("listed as {}", pong.get("name").and_then(Value::as_str).unwrap_or_default()))
    });
    verdicts.note(
        SERVICE,
        seen.or_else(|why| Ok::<_, String>(format!("not a service, which is optional ({why})"))),
    );
}

/// R4: asked, it announces itself again.
async fn discover(stage: &mut Stage, verdicts: &mut Verdicts) {
    while stage::next(&mut stage.announcements, Duration::from_millis(1)).await.is_some() {}
    let asked = stage.publish(&Subject::Discover, b"").await;
    let seen = match (asked, stage::next(&mut stage.announcements, ANSWER).await) {
        (Err(error), _) => Err(error),
        (Ok(()), Some(_)) => Ok("announces itself when asked"),
        (Ok(()), None) => {
            Err(format!("no announcement within {ANSWER:?} of {}", Subject::Discover.on(&stage.prefix)))
        }
    };
    verdicts.note(DISCOVER, seen);
}

/// R7 and R9.
async fn garbage(stage: &mut Stage, kind: &KindInfo, known: &mut Known, verdicts: &mut Verdicts) {
    let subjects =
        [work(stage, kind, known), Subject::Ctl(stage.vp.clone(), stage.instance.clone()), Subject::Discover];
    for subject in &subjects {
        for bytes in [&b""[..], b"{", b"\xff\x00\x13", b"[1,2,3]", b"{\"tasks\":{}}"] {
            // What it does with them shows below: it goes on.
            let _ = stage.publish(subject, bytes).await;
        }
    }
    let batch = batch(stage, kind, known, Body::of(&"no parameters at all").unwrap_or_default(), "127.0.0.1");
    let measurement = batch.measurement;
    let seen = match give(stage, kind, known, batch).await {
        Ok(Receipt::Refused { reason, .. }) if reason.code == code::PARAMETERS => {
            Ok("refused at once".to_owned())
        }
        Ok(Receipt::Refused { reason, .. }) => {
            Err(format!("refused with {}, which is not `parameters`", reason.code))
        }
        Ok(Receipt::Busy { .. }) => Err("busy, while it has nothing to do".into()),
        Ok(Receipt::Accepted { .. }) => match final_record(stage, kind, known, measurement).await {
            Ok((Outcome::Refused, Some(code), _)) if code == code::PARAMETERS => {
                Ok("refused in the record".to_owned())
            }
            Ok((outcome, code, _)) => {
                Err(format!("it took a text for parameters: {outcome} {}", code.unwrap_or_default()))
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    verdicts.note(PARAMS, seen.map(|text| format!("{}: {text}", kind.name)));
    let alive = match stage.status() {
        None => Ok("nothing of it ends the module"),
        Some(status) => Err(format!("it ended ({status})")),
    };
    verdicts.note(GARBAGE, alive);
}

/// R8, and R10 to R12.
async fn task(
    stage: &mut Stage,
    kind: &KindInfo,
    known: &mut Known,
    args: &CheckArgs,
    verdicts: &mut Verdicts,
) {
    let params = match kinds::params_set(kind, &args.set) {
        Ok(params) => params,
        Err(failure) => {
            let why = format!("{}: not tried: {}; --set NAME=VALUE gives it", kind.name, failure.text);
            verdicts.note(RESULT, Err::<String, _>(why));
            return;
        }
    };
    let params = if params.is_empty() { BTreeMap::new() } else { params };
    let batch = batch(stage, kind, known, Body::of(&params).unwrap_or_default(), &args.target);
    let measurement = batch.measurement;
    let receipt = give(stage, kind, known, batch).await;
    let taken = match receipt {
        Ok(Receipt::Accepted { instance, boot, .. }) if instance == stage.instance && boot == known.boot => {
            Ok(format!("{}: taken", kind.name))
        }
        Ok(other) => Err(format!("{}: {other:?}", kind.name)),
        Err(error) => Err(format!("{}: {error}", kind.name)),
    };
    if !verdicts.note(RECEIPT, taken) {
        return;
    }
    let seen = final_record(stage, kind, known, measurement).await;
    verdicts.note(
        RESULT,
        seen.map(|(outcome, code, brief)| {
            format!(
                "{}: {outcome} {}{brief}",
                kind.name,
                code.map(|code| format!("({code}) ")).unwrap_or_default()
            )
        }),
    );
}

/// R15: a module that can't say declines, and every module answers.
async fn quote(stage: &Stage, kind: &KindInfo, args: &CheckArgs, verdicts: &mut Verdicts) {
    let inputs = vec![input(stage, kind, &args.target)];
    let control = Control::Quote { kind: kind.name.clone(), params: Body::null(), inputs };
    let seen = match order(stage, &control).await {
        Ok(Controlled::Quoted(quote)) => Ok(format!("{}: {} packets", kind.name, quote.packets)),
        Ok(Controlled::Refused { reason }) => Ok(format!("{}: declined ({})", kind.name, reason.code)),
        Ok(other) => Err(format!("{}: {other:?}", kind.name)),
        Err(error) => Err(format!("{}: {error}", kind.name)),
    };
    verdicts.note(QUOTE, seen);
}

/// R13: also of what it does not hold, since results and orders cross.
async fn cancel(stage: &Stage, verdicts: &mut Verdicts) {
    let control = Control::Cancel { epoch: EPOCH, measurement: measurement(), indices: None };
    let seen = match order(stage, &control).await {
        Ok(Controlled::Done { .. }) => Ok("answered"),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error),
    };
    verdicts.note(CANCEL, seen);
}

/// R14.
async fn drain(stage: &mut Stage, verdicts: &mut Verdicts) {
    while stage::next(&mut stage.announcements, Duration::from_millis(1)).await.is_some() {}
    while stage::next(&mut stage.heartbeats, Duration::from_millis(1)).await.is_some() {}
    let drained = match order(stage, &Control::Drain).await {
        Ok(Controlled::Done { .. }) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error),
    };
    let ended = stage.ended(LEAVE).await;
    let seen = match (drained, ended) {
        (Err(error), _) => Err(error),
        (Ok(()), Some(status)) if status.success() => Ok("answered, and ended with status 0".to_owned()),
        (Ok(()), Some(status)) => Err(format!("it ended with {status}")),
        (Ok(()), None) => Err(format!("it still ran after {LEAVE:?}")),
    };
    verdicts.note(DRAIN, seen);
    let mut said = Err("it left without announcing that it does".to_owned());
    while let Some(message) = stage::next(&mut stage.announcements, Duration::from_millis(500)).await {
        if matches!(stage::decode(&message), Ok(Announcement { role: Role::Bye, .. })) {
            said = Ok("announced");
            break;
        }
    }
    verdicts.note(BYE, said);
    let mut said = Err("no heartbeat with the state `draining`".to_owned());
    while let Some(message) = stage::next(&mut stage.heartbeats, Duration::from_millis(1)).await {
        if matches!(stage::decode(&message), Ok(Heartbeat { state: InstanceState::Draining, .. })) {
            said = Ok("told");
            break;
        }
    }
    verdicts.note(DRAINING, said);
}

async fn order(stage: &Stage, control: &Control) -> Result<Controlled, String> {
    stage.ask(&Subject::Ctl(stage.vp.clone(), stage.instance.clone()), control, Encoding::Json, ANSWER).await
}

/// Where the module gets its work: at its own subject with credits, from the pool without.
fn work(stage: &Stage, kind: &KindInfo, known: &Known) -> Subject {
    if known.info.credits.is_some() {
        Subject::Task(stage.vp.clone(), kind.name.clone(), stage.instance.clone())
    } else {
        Subject::Pool(stage.vp.clone(), kind.name.clone())
    }
}

fn batch(stage: &Stage, kind: &KindInfo, known: &mut Known, params: Body, target: &str) -> TaskBatch {
    let input = input(stage, kind, target);
    let seq = if known.info.credits.is_some() {
        known.seq += 1;
        known.seq
    } else {
        0
    };
    TaskBatch {
        anchor: stage.anchor.clone(),
        epoch: EPOCH,
        seq,
        ack: 0,
        measurement: measurement(),
        kind: kind.name.clone(),
        params,
        deadline_ns: u64::try_from(TASK.as_nanos()).unwrap_or(u64::MAX),
        tasks: vec![Task { index: 7, attempt: 1, input }],
    }
}

fn input(stage: &Stage, kind: &KindInfo, target: &str) -> Input {
    match kind.input {
        InputShape::Nothing => Input::Nothing,
        InputShape::Target => Input::Target(target.to_owned()),
        InputShape::Targets => Input::Targets(vec![target.to_owned()]),
        InputShape::Peer => Input::Peer { vp: stage.vp.clone() },
    }
}

async fn give(stage: &Stage, kind: &KindInfo, known: &Known, batch: TaskBatch) -> Result<Receipt, String> {
    let subject = work(stage, kind, known);
    if known.info.credits.is_some() {
        stage.ask(&subject, &ToInstance::Tasks(batch), Encoding::Cbor, ANSWER).await
    } else {
        stage.ask(&subject, &batch, Encoding::Json, ANSWER).await
    }
}

/// The final record of the one task of a measurement: its outcome, its reason's code, its numbers.
async fn final_record(
    stage: &mut Stage,
    kind: &KindInfo,
    known: &Known,
    measurement: MeasurementId,
) -> Result<(Outcome, Option<String>, String), String> {
    let own = Subject::Res(stage.vp.clone(), kind.name.clone(), measurement).on(&stage.prefix);
    while let Some(message) = stage::next(&mut stage.results, TASK).await {
        if message.subject.as_str() != own {
            continue;
        }
        let batch: ResultBatch = stage::decode(&message)?;
        if batch.instance != stage.instance || batch.boot != known.boot {
            return Err("the batch names another instance or boot".into());
        }
        if batch.anchor != stage.anchor || batch.epoch != EPOCH {
            return Err("the batch does not repeat anchor and epoch of the task".into());
        }
        if batch.seq == 0 {
            return Err("seq counts from 1".into());
        }
        let Some(record) = batch.records.into_iter().find(|record| record.last) else { continue };
        if (record.index, record.attempt) != (7, 1) {
            return Err("the record does not repeat index and attempt of the task".into());
        }
        if record.outcome != Outcome::Ok && record.reason.is_none() {
            return Err(format!("{} without a reason", record.outcome));
        }
        record.body.to_json().map_err(|error| format!("its body: {error}"))?;
        let named = |name: &str| kind.summary.iter().any(|field| field.name == name);
        if let Some(odd) = record.summary.keys().find(|name| !named(name)) {
            return Err(format!("its summary has {odd}, which the announcement does not describe"));
        }
        let numbers: Vec<_> =
            record.summary.iter().map(|(name, number)| format!("{name}={number}")).collect();
        return Ok((record.outcome, record.reason.map(|reason| reason.code.into_owned()), numbers.join(" ")));
    }
    Err(format!("nothing on {own} within {TASK:?}"))
}

fn measurement() -> MeasurementId {
    let unix_ms = u64::try_from(clock::wall().unix_ns() / 1_000_000).unwrap_or(0);
    MeasurementId::new(unix_ms, &rand::random::<[u8; 10]>())
}
