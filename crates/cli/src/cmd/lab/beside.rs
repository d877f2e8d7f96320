//! `mmn lab truth MSM`: what really happened to a measurement's packets, beside what was measured.

use std::net::IpAddr;

use mmn_client::ResultsQuery;
use mmn_lab::clock;
use mmn_lab::host::Client;
use mmn_lab::namespaces::{Found, MOST, RecordRow, TruthQuery, What};
use mmn_schema::api::ResultRecord;
use mmn_schema::id::TaskId;
use serde::Serialize;

use super::measured::{Measured, Probe};
use super::truth::fate;
use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::style::Tone;
use crate::table::{self, Cell, Column, Row};
use crate::units;

/// Whose packets.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) measurement: MsmArg,
    pub(super) vp: Option<&'a str>,
    pub(super) to: Option<IpAddr>,
    pub(super) json: bool,
    pub(super) api: &'a ApiArgs,
}

/// A packet as it was measured, and as it was.
#[derive(Debug, Serialize)]
struct Beside {
    task: TaskId,
    /// The vantage point's name.
    vp: String,
    /// Where it went.
    target: IpAddr,
    /// Absent where a result does not tell of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Probe>,
    /// Within how much its round trip is right, by the result's own word.
    rtt_error_ns: u64,
    /// Absent where the lab does not know of it, or no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<Found>,
    /// In what the two differ.
    differs: Vec<&'static str>,
}

/// Compares all results. It ends well where nothing differs.
pub(super) fn run(session: &mut Session, lab: &mut Client, asked: &Asked<'_>) -> Result<Exit, Failure> {
    let client = session.client(asked.api)?;
    crate::cmd::in_runtime(async {
        let id = session::measurement(&client, asked.measurement).await?;
        let mut query = ResultsQuery { after: None, limit: Some(1_000) };
        let (mut shown, mut wrong) = (0_usize, 0_usize);
        loop {
            let page = client.results(id, query).await?;
            for record in page.items.iter().filter(|record| asked.wants(record)) {
                let all = beside(lab, record, asked.to)?;
                wrong += all.iter().filter(|one| !one.differs.is_empty()).count();
                shown += all.len();
                show(session, &all, asked.json)?;
            }
            match page.next {
                Some(next) => query.after = Some(next.parse().map_err(Failure::new)?),
                None => break,
            }
        }
        if shown == 0 {
            session.printer.note("no result tells of packets in a lab");
        } else if !asked.json {
            let packets = units::count(u64::try_from(shown).unwrap_or(u64::MAX), "packet");
            session.printer.note(&format!("{packets}, {wrong} measured otherwise than they happened"));
        }
        Ok(Exit::of(shown > 0 && wrong == 0))
    })
}

impl Asked<'_> {
    fn wants(&self, record: &ResultRecord) -> bool {
        record.simulated && self.vp.is_none_or(|vp| record.vp_name.as_deref() == Some(vp))
    }
}

fn beside(lab: &mut Client, record: &ResultRecord, to: Option<IpAddr>) -> Result<Vec<Beside>, Failure> {
    let (Some(vp), Ok(body)) = (record.vp_name.clone(), record.body.to_json()) else { return Ok(Vec::new()) };
    let measured = Measured::of(&body);
    let Some(target) = measured.target.filter(|target| to.is_none_or(|to| to == *target)) else {
        return Ok(Vec::new());
    };
    let mut there = packets(lab, &vp, target, &measured)?;
    let one = |probe: Option<Probe>, truth: Option<Found>| Beside {
        task: record.task,
        differs: differs(probe.as_ref(), truth.as_ref(), &vp, &measured),
        vp: vp.clone(),
        target,
        measured: probe,
        rtt_error_ns: measured.rtt_error_ns,
        truth,
    };
    let mut all = Vec::new();
    for probe in &measured.probes {
        let truth = nearest(&there, probe).map(|at| there.remove(at).1);
        all.push(one(Some(probe.clone()), truth));
    }
    // Where others may have sent to the same target, what is left may be theirs.
    if measured.probes.iter().all(|probe| probe.selector.is_some()) {
        all.extend(there.into_iter().map(|(_, found)| one(None, Some(found))));
    }
    Ok(all)
}

/// The packets that a task may have sent, with when they left in civil time.
fn packets(
    lab: &mut Client,
    vp: &str,
    target: IpAddr,
    measured: &Measured,
) -> Result<Vec<(i64, Found)>, Failure> {
    let sent = || measured.probes.iter().map(|probe| probe.sent_at.unix_ns());
    let (Some(first), Some(last)) = (sent().min(), sent().max()) else { return Ok(Vec::new()) };
    let now = clock::both();
    let ahead = now.wall.0.saturating_sub(i64::try_from(now.at.0).unwrap_or(i64::MAX));
    let monotonic = |civil: i64| u64::try_from(civil.saturating_sub(ahead)).ok();
    let mut selectors: Vec<_> = measured.probes.iter().map(|probe| probe.selector).collect();
    selectors.sort_unstable();
    selectors.dedup();
    let selector = match selectors.as_slice() {
        [one] => *one,
        _ => None,
    };
    let mut query = TruthQuery {
        vp: Some(vp.to_owned()),
        to: Some(target),
        selector,
        from_ns: monotonic(first - NEAR_NS),
        until_ns: monotonic(last + NEAR_NS),
        last: MOST,
        ..TruthQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let told = lab.truth(&query)?;
        let full = told.cut || told.packets.len() >= usize::try_from(MOST).unwrap_or(usize::MAX);
        query.before = told.packets.first().map(|oldest| oldest.packet.id);
        let civil = |found: &Found| i64::try_from(found.packet.born_ns).unwrap_or(i64::MAX) + ahead;
        let page = told.packets.into_iter().filter(|found| ours(found, &selectors));
        all.extend(page.map(|found| (civil(&found), found)));
        if !full || query.before.is_none() {
            break;
        }
    }
    all.sort_by_key(|(at, found)| (*at, found.packet.id));
    Ok(all)
}

/// How far apart the same instant may be in a result and in the truth: civil time is read a moment before or after.
const NEAR_NS: i64 = 20_000_000;

fn ours(found: &Found, selectors: &[Option<u16>]) -> bool {
    selectors.iter().any(|selector| selector.is_none_or(|selector| selector == found.packet.selector))
}

/// The place of the packet that a probe was.
fn nearest(there: &[(i64, Found)], probe: &Probe) -> Option<usize> {
    let fits = |found: &Found| {
        let packet = &found.packet;
        probe.request_ip_id.is_none_or(|id| packet.ip_id == Some(id))
            && probe.ttl.is_none_or(|ttl| packet.ttl == ttl)
            && probe.selector.is_none_or(|selector| packet.selector == selector)
    };
    let apart = |at: i64| at.saturating_sub(probe.sent_at.unix_ns()).unsigned_abs();
    (0..)
        .zip(there)
        .filter(|(_, (at, found))| fits(found) && apart(*at) <= NEAR_NS.unsigned_abs())
        .min_by_key(|(_, (at, _))| apart(*at))
        .map(|(place, _)| place)
}

/// What came back to the vantage point, in the order of coming.
fn came<'f>(found: &'f Found, vp: &str) -> Vec<&'f RecordRow> {
    let mut came: Vec<_> = found
        .came
        .iter()
        .filter(|row| row.fate.what == What::Delivered && row.fate.at.as_deref() == Some(vp))
        .collect();
    came.sort_by_key(|row| (row.written_ns.unwrap_or(row.ended_ns), row.id));
    came
}

fn differs(probe: Option<&Probe>, truth: Option<&Found>, vp: &str, measured: &Measured) -> Vec<&'static str> {
    let (probe, truth) = match (probe, truth) {
        (Some(probe), Some(truth)) => (probe, truth),
        (Some(_), None) => return vec!["unknown to the lab"],
        (None, Some(truth)) => {
            // Results of paths end where the path does, or with the last that answered.
            let told = measured.probes.iter().filter_map(|probe| probe.ttl).max();
            let beyond = told.is_some_and(|told| truth.packet.ttl > told);
            let missed = !came(truth, vp).is_empty() && !beyond;
            return if missed { vec!["in no result"] } else { Vec::new() };
        }
        (None, None) => return Vec::new(),
    };
    let came = came(truth, vp);
    let first = came.first().map(|row| {
        let late = row.written_ns.map_or(0, |at| at.saturating_sub(row.ended_ns));
        (row, row.ended_ns.saturating_sub(truth.packet.born_ns), late)
    });
    let mut differs = Vec::new();
    match (probe.rtt_ns, first) {
        (Some(rtt), Some((row, real, late))) => {
            let (least, most) =
                (real.saturating_sub(measured.rtt_error_ns), real + measured.rtt_error_ns + late);
            if !(least..=most).contains(&rtt) {
                differs.push("round trip");
            }
            if probe.from.is_some_and(|from| from != row.source) {
                differs.push("sender");
            }
            if probe.ip_id.is_some_and(|id| row.ip_id != Some(id)) {
                differs.push("IP-ID");
            }
            // One that came when nobody listened any more is told by no result.
            let most = u64::try_from(came.len().saturating_sub(1)).unwrap_or(u64::MAX);
            if probe.duplicates > most {
                differs.push("duplicates");
            }
        }
        (Some(_), None) => differs.push("nothing came"),
        (None, Some((_, real, late))) => {
            let awaited = measured.timeout_ns.is_none_or(|timeout| real.saturating_add(late) < timeout);
            if LOST.contains(&&*probe.status) && awaited {
                differs.push("something came");
            }
        }
        (None, None) => {}
    }
    differs
}

/// The words of kinds for what was not answered.
const LOST: &[&str] = &["timed_out", "overrun"];

fn show(session: &mut Session, all: &[Beside], json: bool) -> Result<(), Failure> {
    let printer = &mut session.printer;
    if json {
        for one in all {
            printer.json(one)?;
        }
        return Ok(());
    }
    let Some(first) = all.first() else { return Ok(()) };
    printer.line(&format!(
        "{} to {}, task {}",
        crate::view::named(&first.vp, true),
        first.target,
        first.task
    ))?;
    let columns = vec![
        Column::right("TTL").optional(),
        Column::left("MEASURED").shrinks_to(20),
        Column::left("TRUTH").shrinks_to(24),
        Column::left("DIFFERS").shrinks_to(12),
    ];
    let rows: Vec<Row> = all.iter().map(row).collect();
    Ok(printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?)
}

fn row(one: &Beside) -> Row {
    let ttl = one.truth.as_ref().map(|found| found.packet.ttl.to_string());
    let measured = one.measured.as_ref().map_or_else(String::new, |probe| match (probe.rtt_ns, probe.from) {
        (Some(rtt), Some(from)) => format!("{} from {from}", units::nanos_u64(rtt)),
        (Some(rtt), None) => units::nanos_u64(rtt),
        (None, _) => probe.status.replace('_', " "),
    });
    let differs = one.differs.join(", ");
    vec![
        Cell::new(ttl.unwrap_or_default()),
        Cell::new(measured),
        Cell::new(one.truth.as_ref().map(|found| really(found, &one.vp)).unwrap_or_default()),
        Cell::new(differs).tone(Tone::Bad),
    ]
    .into()
}

/// What happened, in words.
fn really(found: &Found, vp: &str) -> String {
    let Some(first) = came(found, vp).first().copied() else {
        // Where nothing came, the last of it says why.
        let last = found.came.iter().rev().find(|row| row.fate.what != What::Answered);
        return match last {
            Some(last) => format!("{}; what came of it {}", fate(&found.packet), fate(last)),
            None => fate(&found.packet),
        };
    };
    let rtt = first.ended_ns.saturating_sub(found.packet.born_ns);
    format!("{} from {} ({})", units::nanos_u64(rtt), first.source, first.by)
}
