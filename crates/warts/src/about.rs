//! What measurements of every type have.

use crate::record::Record;
use crate::values::{Address, Time};

/// What a measurement says whatever its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct About<'a> {
    /// When it began.
    pub start: Option<Time>,
    /// Where it came from.
    pub src: Option<&'a Address>,
    /// What was measured; of aliases, the first address.
    pub dst: Option<&'a Address>,
    /// How many probes or packets were sent, where the record says so.
    pub sent: Option<usize>,
    /// How many replies or packets came.
    pub replies: usize,
}

impl Record {
    /// What the record says whatever its type; `None` when it is no measurement.
    pub fn about(&self) -> Option<About<'_>> {
        Some(match self {
            Self::Ping(ping) => About {
                start: ping.start,
                src: ping.src.as_ref(),
                dst: ping.dst.as_ref(),
                sent: ping.ping_sent.map(usize::from),
                replies: ping.replies.len(),
            },
            Self::Trace(trace) => About {
                start: trace.start,
                src: trace.src.as_ref(),
                dst: trace.dst.as_ref(),
                sent: trace.probec.map(usize::from),
                replies: trace.hops.len()
                    + trace.pmtud.as_ref().map_or(0, |pmtud| pmtud.hops.len())
                    + trace.lastditch.as_ref().map_or(0, |lastditch| lastditch.hops.len()),
            },
            Self::Tracelb(trace) => About {
                start: trace.start,
                src: trace.src.as_ref(),
                dst: trace.dst.as_ref(),
                sent: trace.probec.and_then(|sent| sent.try_into().ok()),
                replies: {
                    let sets = trace.links.iter().flat_map(|link| &link.sets);
                    sets.flat_map(|set| &set.probes).map(|probe| probe.replies.len()).sum()
                },
            },
            Self::Dealias(dealias) => {
                let def = dealias.definitions().into_iter().next();
                About {
                    start: dealias.start,
                    src: def.and_then(|def| def.src.as_ref()),
                    dst: def.and_then(|def| def.dst.as_ref()),
                    sent: Some(dealias.probes.len()),
                    replies: dealias.probes.iter().map(|probe| probe.replies.len()).sum(),
                }
            }
            Self::Neighbourdisc(found) => About {
                start: found.start,
                src: found.src_ip.as_ref(),
                dst: found.dst_ip.as_ref(),
                sent: Some(found.probes.len()),
                replies: found.probes.iter().map(|probe| probe.replies.len()).sum(),
            },
            Self::Tbit(tbit) => About {
                start: tbit.start,
                src: tbit.src.as_ref(),
                dst: tbit.dst.as_ref(),
                sent: Some(tbit.pkts.iter().filter(|packet| packet.dir == Some(1)).count()),
                replies: tbit.pkts.iter().filter(|packet| packet.dir == Some(2)).count(),
            },
            Self::Sting(sting) => About {
                start: sting.start,
                src: sting.src.as_ref(),
                dst: sting.dst.as_ref(),
                sent: Some(sting.pkts.iter().filter(|packet| packet.flags.unwrap_or(0) & 1 != 0).count()),
                replies: sting.pkts.iter().filter(|packet| packet.flags.unwrap_or(0) & 2 != 0).count(),
            },
            Self::Sniff(sniff) => About {
                start: sniff.start,
                src: sniff.src.as_ref(),
                dst: None,
                sent: None,
                replies: sniff.pkts.len(),
            },
            Self::Host(host) => About {
                start: host.start,
                src: host.src.as_ref(),
                dst: host.dst.as_ref(),
                sent: Some(host.queries.len()),
                replies: host
                    .queries
                    .iter()
                    .filter(|query| query.rx.is_some_and(|rx| rx != Time::default()))
                    .count(),
            },
            Self::Http(http) => About {
                start: http.start,
                src: http.src.as_ref().map(|address| &address.0),
                dst: http.dst.as_ref().map(|address| &address.0),
                sent: Some(http.bufs.iter().filter(|buffer| buffer.content.unwrap_or(0) & 0x80 != 0).count()),
                replies: http.bufs.iter().filter(|buffer| buffer.content.unwrap_or(0) & 0x80 == 0).count(),
            },
            Self::Udpprobe(probe) => About {
                start: probe.start,
                src: probe.src.as_ref().map(|address| &address.0),
                dst: probe.dst.as_ref().map(|address| &address.0),
                sent: Some(probe.probe_sent.unwrap_or(1).into()),
                replies: probe.replies.len()
                    + probe.others.iter().map(|other| other.replies.len()).sum::<usize>(),
            },
            Self::Owamp(owamp) => About {
                start: owamp.start,
                src: owamp.src.as_ref().map(|address| &address.0),
                dst: owamp.dst.as_ref().map(|address| &address.0),
                sent: Some(owamp.txs.len()),
                replies: owamp.txs.iter().map(|tx| tx.rxs.len()).sum(),
            },
            _ => return None,
        })
    }
}
