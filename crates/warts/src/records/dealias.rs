//! Dealias, whether addresses are of one router: record type 9. A table; by its method another table and the definitions
//! of probes; and the probes.

use super::body;
use crate::error::{Problem, WriteError};
use crate::values::{Address, CycleId, Extensions, IcmpType, List16, List32, ListId, Micros, Text, Time};
use crate::wire::table::{NEVER, table};
use crate::wire::{Input, Output, Wire};

table! {
    /// The resolution of aliases.
    pub struct Dealias {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// When it began.
        3 => start: Time,
        /// How it was done: [`crate::names::dealias_method`]. It says what `method_data` holds.
        4 => method: u8,
        /// What was found: [`crate::names::dealias_result`].
        5 => result: u8,
        /// A number that its user gave it.
        7 => userid: u32,
        /// Why it failed.
        8 => errmsg: Text,
    }
    later { 6 => probes: u32, absent 0 }
    then {
        /// The method's own parameters.
        pub method_data: Method,
        /// The probes.
        pub probes: Vec<Probe>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Dealias, |dealias, input| dealias.read_method(input), |dealias, output| dealias.write_method(output));

/// What a method has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Nothing that is known here.
    #[default]
    None,
    /// Method 1.
    Mercator(Box<Mercator>),
    /// Method 2.
    Ally(Box<Ally>),
    /// Method 3.
    Radargun(Box<Radargun>),
    /// Method 4.
    Prefixscan(Box<Prefixscan>),
    /// Method 5.
    Bump(Box<Bump>),
    /// Method 6.
    Midarest(Box<Midarest>),
    /// Method 7.
    Midardisc(Box<Midardisc>),
}

table! {
    /// Mercator: a UDP probe to one address, and whether another answers.
    pub struct Mercator {
        /// How often it was tried.
        1 => attempts: u8,
        /// How long a reply was waited for, in seconds.
        2 => wait_timeout: u8,
    }
    then {
        /// The definition of its probes.
        pub probedefs: [Box<ProbeDef>; 1],
    }
}

table! {
    /// Ally: probes to two addresses in turn, and whether the identifiers are of one counter.
    pub struct Ally {
        /// Between probes, in milliseconds.
        1 => wait_probe: u16,
        /// How long a reply was waited for, in seconds.
        2 => wait_timeout: u8,
        /// How often it was tried.
        3 => attempts: u8,
        /// How far apart identifiers of one counter may be.
        4 => fudge: u16,
        /// Flags: 1 no byte-swapped counters.
        5 => flags: u8,
    }
    then {
        /// The definitions of its probes.
        pub probedefs: [Box<ProbeDef>; 2],
    }
}

table! {
    /// Bump: whether probes to one address push the counter of the other.
    pub struct Bump {
        /// Between probes, in milliseconds.
        1 => wait_probe: u16,
        /// How many probes at a time at most.
        2 => bump_limit: u16,
        /// How often it was tried.
        3 => attempts: u8,
    }
    then {
        /// The definitions of its probes.
        pub probedefs: [Box<ProbeDef>; 2],
    }
}

table! {
    /// Radargun: rounds of probes to many addresses.
    pub struct Radargun {
        /// How many rounds.
        2 => rounds: u16,
        /// Between probes, in milliseconds.
        3 => wait_probe: u16,
        /// Between rounds, in milliseconds.
        4 => wait_round: u32,
        /// How long a reply was waited for, in seconds.
        5 => wait_timeout: u8,
        /// Flags: 1 in random order.
        6 => flags: u8,
    }
    counts { 1 => probedefs: u32, absent NEVER }
    then {
        /// The definitions of its probes.
        pub probedefs: Vec<ProbeDef>,
    }
}

table! {
    /// Prefixscan: the other end of a point-to-point link.
    pub struct Prefixscan {
        /// The near end.
        1 => a: Address,
        /// An address of the router at the far end.
        2 => b: Address,
        /// The alias of `b` that was found.
        3 => ab: Address,
        /// Addresses that were not to be probed.
        4 => xs: List16<Address>,
        /// The length of the prefix that was scanned.
        5 => prefix: u8,
        /// How often it was tried.
        6 => attempts: u8,
        /// How far apart identifiers of one counter may be.
        7 => fudge: u16,
        /// Between probes, in milliseconds.
        8 => wait_probe: u16,
        /// How long a reply was waited for, in seconds.
        9 => wait_timeout: u8,
        /// Flags: 1 a subnet that may hold it only, 2 no byte-swapped counters.
        11 => flags: u8,
        /// How many replies are needed; absent means 5.
        12 => replyc: u8,
    }
    counts { 10 => probedefs: u16, absent 0 }
    then {
        /// The definitions of its probes.
        pub probedefs: Vec<ProbeDef>,
    }
}

table! {
    /// Midar's estimation: how fast each counter runs.
    pub struct Midarest {
        /// How many rounds.
        2 => rounds: u8,
        /// Between probes.
        3 => wait_probe: Micros,
        /// Between rounds.
        4 => wait_round: Micros,
        /// How long a reply was waited for.
        5 => wait_timeout: Micros,
    }
    counts { 1 => probedefs: u16, absent NEVER }
    then {
        /// The definitions of its probes.
        pub probedefs: Vec<ProbeDef>,
    }
}

table! {
    /// Midar's discovery: a sliding window over many addresses.
    pub struct Midardisc {
        /// How long a reply was waited for.
        2 => wait_timeout: Micros,
        /// The rounds.
        3 => schedule: List32<Round>,
        /// When it was to begin.
        4 => startat: Time,
    }
    counts { 1 => probedefs: u32, absent NEVER }
    then {
        /// The definitions of its probes.
        pub probedefs: Vec<ProbeDef>,
    }
}

/// A round: which definitions are probed when.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Round {
    /// When it begins, after the beginning of all.
    pub start: Time,
    /// The first definition.
    pub begin: u32,
    /// The last.
    pub end: u32,
}

table! {
    /// The definition of probes.
    pub struct ProbeDef {
        /// Its number, by which probes refer to it.
        3 => id: u32,
        /// How it probes: [`crate::names::dealias_probe`].
        4 => method: u8,
        /// The TTL, or hop limit.
        5 => ttl: u8,
        /// The traffic class.
        6 => tos: u8,
        /// The ports; of ICMP in old files, the second is the checksum.
        7 => ports: Ports,
        /// The TCP flags.
        8 => tcp_flags: u8,
        /// The ICMP identifier.
        9 => icmp_id: u16,
        /// Where they go.
        10 => dst: Address,
        /// Where they come from.
        11 => src: Address,
        /// The size in octets, with the IP header.
        12 => size: u16,
        /// The MTU of the packet too big with which replies were answered.
        13 => mtu: u16,
        /// The ICMP checksum.
        14 => icmp_csum: u16,
    }
    old { 1 => dst, 2 => src }
}

/// The ports of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Ports {
    /// The source port.
    pub sport: u16,
    /// The destination port.
    pub dport: u16,
}

table! {
    /// A probe.
    pub struct Probe {
        /// The number of its definition; absent means 0.
        1 => def: u32,
        /// When it was sent.
        2 => tx: Time,
        /// Its IPv4 identification.
        4 => ipid: u16,
        /// Its place among all probes.
        5 => seq: u32,
    }
    counts { 3 => replies: u16, absent 0 }
    then {
        /// The replies.
        pub replies: Vec<Reply>,
    }
}

table! {
    /// A reply.
    pub struct Reply {
        /// When it came.
        2 => rx: Time,
        /// Its IPv4 identification.
        3 => ipid: u16,
        /// Its TTL, or hop limit.
        4 => ttl: u8,
        /// Its ICMP type and code.
        5 => icmp: IcmpType,
        /// The TTL in the quoted IP header.
        6 => icmp_q_ttl: u8,
        /// Its ICMP extension objects.
        7 => icmp_ext: Extensions,
        /// Its IP protocol.
        8 => proto: u8,
        /// Its TCP flags.
        9 => tcp_flags: u8,
        /// Where it came from.
        10 => src: Address,
        /// The identification of its IPv6 fragment header.
        11 => ipid32: u32,
        /// Flags: 1 `ipid32` is there.
        12 => flags: u8,
        /// Its size in octets, with its IP header.
        13 => size: u16,
    }
    old { 1 => src }
}

macro_rules! rows {
    ($($name:ident { $($field:ident),* }),*) => { $(
        impl Wire for $name {
            fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
                Ok(Self { $($field: Wire::read(input)?),* })
            }
            fn write(&self, output: &mut Output) -> Result<(), WriteError> {
                $(self.$field.write(output)?;)*
                Ok(())
            }
        }
    )* };
}

rows!(Round { start, begin, end }, Ports { sport, dport });

impl Dealias {
    /// The definitions of its probes, whatever the method.
    pub fn definitions(&self) -> Vec<&ProbeDef> {
        match &self.method_data {
            Method::None => Vec::new(),
            Method::Mercator(method) => method.probedefs.iter().map(AsRef::as_ref).collect(),
            Method::Ally(method) => method.probedefs.iter().map(AsRef::as_ref).collect(),
            Method::Bump(method) => method.probedefs.iter().map(AsRef::as_ref).collect(),
            Method::Radargun(method) => method.probedefs.iter().collect(),
            Method::Prefixscan(method) => method.probedefs.iter().collect(),
            Method::Midarest(method) => method.probedefs.iter().collect(),
            Method::Midardisc(method) => method.probedefs.iter().collect(),
        }
    }

    fn read_method(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        // The count stands in a table that has been read before any other.
        let probes = std::mem::take(&mut input.later);
        self.method_data = match self.method {
            Some(1) => Method::Mercator(fixed(input, |mercator: &mut Mercator| &mut mercator.probedefs)?),
            Some(2) => Method::Ally(fixed(input, |ally: &mut Ally| &mut ally.probedefs)?),
            Some(3) => Method::Radargun(Box::new(Wire::read(input)?)),
            Some(4) => Method::Prefixscan(Box::new(Wire::read(input)?)),
            Some(5) => Method::Bump(fixed(input, |bump: &mut Bump| &mut bump.probedefs)?),
            Some(6) => Method::Midarest(Box::new(Wire::read(input)?)),
            Some(7) => Method::Midardisc(Box::new(Wire::read(input)?)),
            _ if probes == 0 && input.left() == 0 => return Ok(()),
            other => return Err(Problem::Method(other.unwrap_or(0))),
        };
        self.probes = input.items(probes)?;
        Ok(())
    }

    fn write_method(&self, output: &mut Output) -> Result<(), WriteError> {
        match &self.method_data {
            Method::None => {}
            Method::Mercator(mercator) => {
                mercator.write(output)?;
                mercator.probedefs.iter().try_for_each(|def| def.write(output))?;
            }
            Method::Ally(ally) => {
                ally.write(output)?;
                ally.probedefs.iter().try_for_each(|def| def.write(output))?;
            }
            Method::Radargun(radargun) => radargun.write(output)?,
            Method::Prefixscan(prefixscan) => prefixscan.write(output)?,
            Method::Bump(bump) => {
                bump.write(output)?;
                bump.probedefs.iter().try_for_each(|def| def.write(output))?;
            }
            Method::Midarest(midarest) => midarest.write(output)?,
            Method::Midardisc(midardisc) => midardisc.write(output)?,
        }
        output.items(&self.probes)
    }
}

/// Reads the table of a method whose definitions are so many and no more.
fn fixed<T: Wire, const N: usize>(
    input: &mut Input<'_>,
    defs: impl Fn(&mut T) -> &mut [Box<ProbeDef>; N],
) -> Result<Box<T>, Problem> {
    let mut method = Box::new(T::read(input)?);
    for def in defs(&mut method) {
        **def = ProbeDef::read(input)?;
    }
    Ok(method)
}
