//! The rules of a module with credits.

use std::time::Duration;

use mmn_schema::body::Body;
use mmn_schema::dispatch::{Receipt, ResultBatch, Sync, Synced, Task, TaskBatch, ToInstance};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::Epoch;
use mmn_schema::outcome::code;
use mmn_schema::subject::Subject;

use super::super::stage::{self, Stage};
use super::super::{CheckArgs, Rule, Verdicts};
use super::{ANSWER, EPOCH, Known, batch, give};
use crate::kinds;

/// The most tasks that are sent in one batch: they fit a message.
const MOST_TASKS: u64 = 10_000;

const CREDITS: Rule = Rule("R16", "credits");
const KEPT: Rule = Rule("R17", "resend");
const SYNC: Rule = Rule("R18", "sync");
const STALE: Rule = Rule("R19", "stale-epoch");

/// Takes the module through them.
pub(super) async fn play(
    stage: &mut Stage,
    known: &mut Known,
    credits: u32,
    args: &CheckArgs,
    verdicts: &mut Verdicts,
) {
    overfill(stage, known, credits, args, verdicts).await;
    sync(stage, known, verdicts).await;
    resend(stage, known, verdicts).await;
    stale(stage, known, verdicts).await;
}

/// R19.
async fn stale(stage: &Stage, known: &mut Known, verdicts: &mut Verdicts) {
    let Some(kind) = known.info.kinds.first().cloned() else { return };
    let batch = TaskBatch { epoch: Epoch(1), ..batch(stage, &kind, known, Body::null(), "127.0.0.1") };
    let seen = match give(stage, &kind, known, batch).await {
        Ok(Receipt::Refused { reason, .. }) if reason.code == code::STALE_EPOCH => Ok("refused"),
        Ok(other) => Err(format!("a batch of an older epoch is answered {other:?}")),
        Err(error) => Err(error),
    };
    verdicts.note(STALE, seen);
}

/// R16: a batch of one task more than the credits.
async fn overfill(stage: &Stage, known: &mut Known, credits: u32, args: &CheckArgs, verdicts: &mut Verdicts) {
    let Some(kind) = known.info.kinds.iter().find(|kind| kind.unavailable.is_none()).cloned() else { return };
    let Ok(params) = kinds::params_set(&kind, &args.set) else { return };
    let mut batch = batch(stage, &kind, known, Body::of(&params).unwrap_or_default(), &args.target);
    let count = u64::from(credits) + 1;
    if count > MOST_TASKS {
        verdicts.note(CREDITS, Ok(format!("{credits} credits: not tried, a batch has fewer tasks")));
        return;
    }
    let one = batch.tasks.remove(0);
    batch.tasks = (0..count).map(|index| Task { index, ..one.clone() }).collect();
    let seen = match give(stage, &kind, known, batch).await {
        Ok(Receipt::Busy { .. }) => Ok(format!("busy when {count} tasks come, with {credits} credits")),
        Ok(Receipt::Refused { reason, .. }) => Err(format!("refused ({}) instead of busy", reason.code)),
        Ok(Receipt::Accepted { .. }) => Err(format!("it takes {count} tasks with {credits} credits")),
        Err(error) => Err(error),
    };
    verdicts.note(CREDITS, seen);
}

/// R18.
async fn sync(stage: &mut Stage, known: &mut Known, verdicts: &mut Verdicts) {
    let seen = synced(stage, known, 0, false).await.and_then(|(synced, _)| {
        if synced.held.is_empty() {
            Ok("answers with what it holds")
        } else {
            Err("it holds tasks although all have ended".into())
        }
    });
    verdicts.note(SYNC, seen);
}

/// R17 and R18: what was never acknowledged comes again, in front of the answer; what was, does not.
async fn resend(stage: &mut Stage, known: &mut Known, verdicts: &mut Verdicts) {
    let seen = async {
        let (first, again) = synced(stage, known, 0, true).await?;
        let wanted: Vec<u64> = (1..=first.high).collect();
        if again != wanted {
            return Err(format!("asked for messages 1 to {} again, it sent {again:?}", first.high));
        }
        match synced(stage, known, first.high, true).await?.1.as_slice() {
            [] => Ok(format!("{} messages again, and none once they are acknowledged", first.high)),
            more => Err(format!("it sends {more:?} although {} were acknowledged", first.high)),
        }
    };
    let seen = seen.await;
    verdicts.note(KEPT, seen);
}

/// Asks for a sync. Gives its answer, and the numbers of the result messages that came before it.
async fn synced(
    stage: &mut Stage,
    known: &mut Known,
    ack: u64,
    resend: bool,
) -> Result<(Synced, Vec<u64>), String> {
    let kind = known.info.kinds.first().ok_or("it offers no kind")?.name.clone();
    while stage::next(&mut stage.results, Duration::from_millis(1)).await.is_some() {}
    known.seq += 1;
    let (anchor, seq) = (stage.anchor.clone(), known.seq);
    let sync = Sync { anchor, epoch: EPOCH, seq, ack, resend, fresh: false };
    let subject = Subject::Task(stage.vp.clone(), kind, stage.instance.clone());
    let payload = Encoding::Cbor.encode(&ToInstance::Sync(sync)).unwrap_or_default();
    stage.publish(&subject, &payload).await?;
    let own = Subject::Synced(stage.vp.clone(), stage.instance.clone()).on(&stage.prefix);
    let mut before = Vec::new();
    while let Some(message) = stage::next(&mut stage.results, ANSWER).await {
        if message.subject.as_str() != own {
            before.push(stage::decode::<ResultBatch>(&message)?.seq);
            continue;
        }
        let synced: Synced = stage::decode(&message)?;
        if synced.seq != seq || synced.boot != known.boot {
            return Err("its answer is to another sync, or of another boot".into());
        }
        return Ok((synced, before));
    }
    Err(format!("nothing on {own} within {ANSWER:?}"))
}
