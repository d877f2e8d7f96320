//! How fast files of warts are read into records. The file is as scamper writes one: a list, a cycle, and pings with every
//! parameter that a plain ping has.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};

use mmn_warts::records::list::{AboutCycle, AboutList};
use mmn_warts::records::ping::{Ping, Reply};
use mmn_warts::values::{Address, CycleId, IcmpType, Interface, ListId, Micros, Text, Time};
use mmn_warts::{Reader, Record, Writer};

use crate::clock;
use crate::lines::Bench;
use crate::report::Report;

const RUNS: usize = 3;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let pings: u32 = if bench.quick { 100_000 } else { 1_000_000 };
    let mut file = tempfile::tempfile()?;
    write(&file, pings)?;
    let bytes = file.metadata()?.len();
    report.note(&format!("{pings} pings in {} MB; the middle one of {RUNS} runs", bytes / 1_000_000));
    let mut copied = middle(|| copy(&mut file))?;
    let mut read = middle(|| records(&mut file, pings))?;
    // Neither may be taken for nothing.
    (copied, read) = (copied.max(1e-9), read.max(1e-9));
    report.at_least("ping records read", "/s", f64::from(pings) / read, 300_000.0);
    report.yardstick("  the same octets, read and nothing done", "/s", f64::from(pings) / copied);
    Ok(())
}

fn middle(mut run: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let mut runs = (0..RUNS).map(|_| run()).collect::<anyhow::Result<Vec<_>>>()?;
    runs.sort_by(f64::total_cmp);
    runs.get(RUNS / 2).copied().ok_or_else(|| anyhow::anyhow!("no runs"))
}

fn records(file: &mut File, pings: u32) -> anyhow::Result<f64> {
    file.rewind()?;
    let begin = clock::now();
    let (mut found, mut rtts) = (0_u32, 0_u64);
    for record in Reader::new(&mut *file) {
        if let Record::Ping(ping) = record? {
            found += 1;
            rtts +=
                ping.replies.iter().filter_map(|reply| reply.rtt).map(|rtt| u64::from(rtt.0)).sum::<u64>();
        }
    }
    let took = (clock::now() - begin).as_secs_f64();
    let wanted: u64 = (0..pings).map(|number| u64::from(rtt(number))).sum();
    anyhow::ensure!((found, rtts) == (pings, wanted), "{found} pings were read, not {pings} as they were");
    Ok(took)
}

fn copy(file: &mut File) -> anyhow::Result<f64> {
    file.rewind()?;
    let begin = clock::now();
    let (mut room, mut sum) = (vec![0; 64 << 10], 0);
    loop {
        let count = file.read(&mut room)?;
        if count == 0 {
            break;
        }
        sum += count;
    }
    let took = (clock::now() - begin).as_secs_f64();
    anyhow::ensure!(u64::try_from(sum)? == file.metadata()?.len(), "{sum} octets were read");
    Ok(took)
}

pub(super) fn write(file: &File, pings: u32) -> anyhow::Result<()> {
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let about = AboutList { monitor: Some(Text::from("bench")), ..AboutList::default() };
    let list = writer.list(1, &Text::from("default"), &about)?;
    let cycle = writer.cycle(list, 1, 1_795_305_600, AboutCycle::default())?;
    for number in 0..pings {
        writer.write(&ping(list, cycle, number).into())?;
    }
    writer.end_cycle(cycle, 1_795_305_600 + pings / 1_000)?;
    writer.into_inner()?.flush()?;
    Ok(())
}

/// Microseconds that differ from ping to ping.
const fn rtt(number: u32) -> u32 {
    200 + number % 99_991
}

fn ping(list: ListId, cycle: CycleId, number: u32) -> Ping {
    let target = Address::V4(number.to_be_bytes().into());
    let sent = Time { sec: 1_795_305_600 + number / 1_000, usec: number % 1_000 * 1_000 };
    let reply = Reply {
        flags: Some(0x27),
        reply_ttl: Some(57),
        reply_size: Some(84),
        icmp: Some(IcmpType { kind: 0, code: 0 }),
        rtt: Some(Micros(rtt(number))),
        probe_id: Some(0),
        reply_ipid: Some(4_711),
        probe_ipid: Some(42),
        addr: Some(target.clone()),
        tx: Some(sent),
        reply_iptos: Some(0),
        ifname: Some(Interface(Text::from("eth0"))),
        ..Reply::default()
    };
    Ping {
        list: Some(list),
        cycle: Some(cycle),
        start: Some(sent),
        stop_reason: Some(1),
        stop_data: Some(0),
        probe_count: Some(1),
        probe_size: Some(84),
        probe_wait: Some(1),
        probe_ttl: Some(64),
        ping_sent: Some(1),
        probe_sport: Some(7),
        probe_dport: Some(0),
        src: Some(Address::V4([192, 0, 2, 1].into())),
        dst: Some(target),
        probe_timeout: Some(1),
        replies: vec![reply],
        ..Ping::default()
    }
}
