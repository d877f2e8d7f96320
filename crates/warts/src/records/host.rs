//! Host, DNS queries: record type 14. A table; for each query a table and one for each record of its response.

use super::body;
use crate::error::{Problem, WriteError};
use crate::values::{Address, CycleId, Data, Data8, ListId, Text, Time};
use crate::wire::table::table;
use crate::wire::{Counted, Input, Output, Wire, count};

table! {
    /// A question to a DNS server.
    pub struct Host {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// Where queries came from.
        4 => src: Address,
        /// The server.
        5 => dst: Address,
        /// When it began.
        6 => start: Time,
        /// [`crate::names::HOST_FLAGS`].
        7 => flags: u16,
        /// How long a response was waited for, in milliseconds.
        8 => wait: u16,
        /// Why it ended: [`crate::names::host_stop`].
        9 => stop: u8,
        /// How often it was asked again.
        10 => retries: u8,
        /// The type asked for.
        11 => qtype: u16,
        /// The class asked for.
        12 => qclass: u16,
        /// The name asked for.
        13 => qname: Text,
        /// The client subnet that was sent (RFC 7871).
        15 => ecs: Text,
        /// Why it failed.
        16 => errmsg: Text,
    }
    counts { 14 => queries: u8, absent 0 }
    then {
        /// The queries.
        pub queries: Vec<Query>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Host);

table! {
    /// A query and the response to it.
    pub struct Query {
        /// When it was sent.
        1 => tx: Time,
        /// When the response came.
        2 => rx: Time,
        /// Its identifier.
        3 => id: u16,
        /// The response code.
        7 => rcode: u8,
        /// Flags of the response: [`crate::names::HOST_QUERY_FLAGS`].
        8 => flags: u8,
    }
    counts {
        4 => an: u16, absent 0;
        5 => ns: u16, absent 0;
        6 => ar: u16, absent 0
    }
    then {
        /// The answers.
        pub an: Vec<Rr>,
        /// The authorities.
        pub ns: Vec<Rr>,
        /// The additional records.
        pub ar: Vec<Rr>,
    }
}

table! {
    /// A resource record.
    pub struct Rr {
        /// Its class.
        1 => class: u16,
        /// Its type.
        2 => rtype: u16,
        /// Its owner.
        3 => name: Text,
        /// How long it may be kept, in seconds.
        4 => ttl: u32,
        /// What it says, where its type is known.
        5 => data: RrData,
    }
}

/// What a resource record says: a number of 16 bits, and by that one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RrData {
    /// 1: A, AAAA.
    Address(Address),
    /// 2: NS, CNAME, PTR.
    Name(Text),
    /// 3: SOA.
    Soa(Box<Soa>),
    /// 4: MX.
    Mx(Mx),
    /// 5: TXT.
    Txt(Txt),
    /// 6: OPT.
    Opt(Opt),
    /// 7: SVCB, HTTPS.
    Svcb(Svcb),
    /// Something else, up to the end of the parameters.
    Other {
        /// Its number.
        kind: u16,
        /// What it holds.
        data: Data,
    },
}

table! {
    /// SOA (RFC 1035, section 3.3.13).
    pub struct Soa {
        /// The primary server.
        1 => mname: Text,
        /// The mailbox of who is responsible.
        2 => rname: Text,
        /// The version of the zone.
        3 => serial: u32,
        /// In seconds.
        4 => refresh: u32,
        /// In seconds.
        5 => retry: u32,
        /// In seconds.
        6 => expire: u32,
        /// In seconds.
        7 => minimum: u32,
    }
}

table! {
    /// MX (RFC 1035, section 3.3.9).
    pub struct Mx {
        /// The lowest is tried first.
        1 => preference: u16,
        /// The host.
        2 => exchange: Text,
    }
}

table! {
    /// TXT (RFC 1035, section 3.3.14).
    pub struct Txt {
        /// The texts.
        1 | 2 => strs: Vec<Data8>,
    }
}

table! {
    /// OPT (RFC 6891, section 6.1.2).
    pub struct Opt {
        /// The options.
        1 | 2 => elems: Vec<Element>,
    }
}

table! {
    /// SVCB (RFC 9460, section 2.2).
    pub struct Svcb {
        /// Its priority; zero is an alias.
        1 => priority: u16,
        /// The host.
        2 => target: Text,
        /// The parameters.
        3 | 4 => params: Vec<Element>,
    }
}

/// An option or a parameter: a code, a length, octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Element {
    /// Its code.
    pub code: u16,
    /// What it holds.
    pub data: Data,
}

impl Wire for Element {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let code = u16::read(input)?;
        let len = u16::read(input)?;
        Ok(Self { code, data: Counted::read(len.into(), input)? })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        self.code.write(output)?;
        count::<u16>("an option", self.data.0.len())?.write(output)?;
        output.put(&self.data.0);
        Ok(())
    }
}

impl Wire for RrData {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        Ok(match u16::read(input)? {
            1 => Self::Address(Wire::read(input)?),
            2 => Self::Name(Wire::read(input)?),
            3 => Self::Soa(Box::new(Wire::read(input)?)),
            4 => Self::Mx(Wire::read(input)?),
            5 => Self::Txt(Wire::read(input)?),
            6 => Self::Opt(Wire::read(input)?),
            7 => Self::Svcb(Wire::read(input)?),
            kind => Self::Other { kind, data: Data(input.rest().to_vec()) },
        })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        let kind: u16 = match self {
            Self::Address(_) => 1,
            Self::Name(_) => 2,
            Self::Soa(_) => 3,
            Self::Mx(_) => 4,
            Self::Txt(_) => 5,
            Self::Opt(_) => 6,
            Self::Svcb(_) => 7,
            Self::Other { kind, .. } => *kind,
        };
        kind.write(output)?;
        match self {
            Self::Address(address) => address.write(output),
            Self::Name(name) => name.write(output),
            Self::Soa(soa) => soa.write(output),
            Self::Mx(mx) => mx.write(output),
            Self::Txt(txt) => txt.write(output),
            Self::Opt(opt) => opt.write(output),
            Self::Svcb(svcb) => svcb.write(output),
            Self::Other { data, .. } => {
                output.put(&data.0);
                Ok(())
            }
        }
    }
}
