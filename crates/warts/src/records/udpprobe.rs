//! Udpprobe, datagrams and what comes back: record type 16. A table, the replies to the first probe, the other probes, and
//! the replies to those. What is known of the first probe stands in the first table.

use super::body;
use crate::error::{Problem, WriteError};
use crate::values::{CycleId, Data, InFull, Interface, ListId, Micros, Text, Time};
use crate::wire::table::table;
use crate::wire::{Input, Output, Wire};

table! {
    /// Datagrams sent to a target and what came back.
    pub struct Udpprobe {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// Where probes came from.
        4 => src: InFull,
        /// Where they went.
        5 => dst: InFull,
        /// The source port of the first probe.
        6 => p0_sport: u16,
        /// The destination port.
        7 => dport: u16,
        /// When it began.
        8 => start: Time,
        /// How long a reply was waited for.
        9 => wait_timeout: Micros,
        /// Flags: 1 the first reply ends it.
        10 => flags: u8,
        /// Why it ended: [`crate::names::udpprobe_stop`].
        11 => stop: u8,
        /// What was sent.
        12 | 13 => data: Data,
        /// How many probes were to be sent; absent means 1.
        15 => probe_count: u8,
        /// How many were sent; absent means 1.
        16 => probe_sent: u8,
        /// How many replies end it.
        17 => stop_count: u8,
        /// The source port that was asked for.
        18 => sport: u16,
        /// Between probes.
        19 => wait_probe: Micros,
        /// Why it failed.
        20 => errmsg: Text,
    }
    counts { 14 => replies: u8, absent 0 }
    then {
        /// The replies to the first probe.
        pub replies: Vec<Reply>,
        /// The probes after the first: `probe_sent` less one.
        pub others: Vec<Probe>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Udpprobe, |probe, input| probe.read_others(input), |probe, output| probe.write_others(output));

table! {
    /// A reply.
    pub struct Reply {
        /// When it came.
        1 => rx: Time,
        /// What it holds.
        2 | 3 => data: Data,
        /// The interface that it came in by.
        4 => ifname: Interface,
    }
}

/// A probe after the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Probe {
    /// What is known of it.
    #[serde(flatten)]
    pub about: AboutProbe,
    /// The replies to it.
    pub replies: Vec<Reply>,
}

table! {
    /// What is known of a probe.
    pub struct AboutProbe {
        /// When it was sent.
        1 => tx: Time,
        /// Its source port.
        2 => sport: u16,
        /// How many replies it has: when written, the number there are.
        3 => replyc: u8,
    }
}

impl Udpprobe {
    fn read_others(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        let others = self.probe_sent.unwrap_or(1).saturating_sub(1);
        let about: Vec<AboutProbe> = input.items(others.into())?;
        for about in about {
            let replies = input.items(about.replyc.unwrap_or(0).into())?;
            self.others.push(Probe { about: AboutProbe { replyc: None, ..about }, replies });
        }
        Ok(())
    }

    fn write_others(&self, output: &mut Output) -> Result<(), WriteError> {
        let sent = usize::from(self.probe_sent.unwrap_or(1).saturating_sub(1));
        if sent != self.others.len() {
            return Err(WriteError::TooLong { what: "the list of probes", len: self.others.len() });
        }
        for probe in &self.others {
            let count = crate::wire::count::<u8>("replies", probe.replies.len())?;
            let replyc = Some(count).filter(|count| *count > 0);
            AboutProbe { replyc, ..probe.about.clone() }.write(output)?;
        }
        self.others.iter().try_for_each(|probe| output.items(&probe.replies))
    }
}
