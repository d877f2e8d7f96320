//! A record of any type.

use crate::error::{Problem, WriteError};
use crate::records::Body;
use crate::records::dealias::Dealias;
use crate::records::host::Host;
use crate::records::http::Http;
use crate::records::list::{Cycle, CycleStop, GlobalAddress, List};
use crate::records::neighbourdisc::Neighbourdisc;
use crate::records::owamp::Owamp;
use crate::records::ping::Ping;
use crate::records::sniff::Sniff;
use crate::records::sting::Sting;
use crate::records::tbit::Tbit;
use crate::records::trace::Trace;
use crate::records::tracelb::Tracelb;
use crate::records::udpprobe::Udpprobe;
use crate::values::{CycleId, ListId};
use crate::wire::{Input, Output, Wire};

/// A record whose type, or whose method, is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Unknown {
    /// The number of its type.
    pub kind: u16,
    /// What it holds.
    pub octets: crate::values::Data,
}

macro_rules! records {
    (
        plain { $( $(#[$plain_meta:meta])* $plain_number:literal => $plain:ident ($plain_type:ident, $plain_name:literal) ),* $(,)? }
        bodies { $( $(#[$body_meta:meta])* $body_number:literal => $body:ident ($body_name:literal) ),* $(,)? }
    ) => {
        /// A record.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(untagged)]
        pub enum Record {
            $( $(#[$plain_meta])* $plain($plain_type), )*
            $( $(#[$body_meta])* $body(Box<$body>), )*
            /// Something else, kept as it stands.
            Unknown(Unknown),
        }

        /// The type of a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $( $(#[$plain_meta])* $plain, )*
            $( $(#[$body_meta])* $body, )*
            /// Another, by its number.
            Other(u16),
        }

        impl Kind {
            /// The number of the type.
            pub fn number(self) -> u16 {
                match self {
                    $( Self::$plain => $plain_number, )*
                    $( Self::$body => $body_number, )*
                    Self::Other(number) => number,
                }
            }

            /// Its name, as scamper has it.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$plain => $plain_name, )*
                    $( Self::$body => $body_name, )*
                    Self::Other(_) => "unknown",
                }
            }
        }

        impl From<u16> for Kind {
            fn from(number: u16) -> Self {
                match number {
                    $( $plain_number => Self::$plain, )*
                    $( $body_number => Self::$body, )*
                    other => Self::Other(other),
                }
            }
        }

        impl Record {
            /// Its type.
            pub fn kind(&self) -> Kind {
                match self {
                    $( Self::$plain(_) => Kind::$plain, )*
                    $( Self::$body(_) => Kind::$body, )*
                    Self::Unknown(unknown) => Kind::from(unknown.kind),
                }
            }

            /// The list and the cycle that a measurement belongs to, by their numbers in the file.
            pub fn membership(&mut self) -> Option<(&mut Option<ListId>, &mut Option<CycleId>)> {
                match self {
                    $( Self::$body(body) => Some(body.membership()), )*
                    _ => None,
                }
            }

            pub(crate) fn read(kind: u16, input: &mut Input<'_>) -> Result<Self, Problem> {
                // Release 20211212 says that a probe has two octets more than it writes, and has them at the end.
                input.lengths_lie = kind == Kind::Neighbourdisc.number();
                Ok(match kind {
                    $( $plain_number => Self::$plain(Wire::read(input)?), )*
                    $( $body_number => Self::$body(Box::new(Body::read_body(input)?)), )*
                    kind => {
                        Self::Unknown(Unknown { kind, octets: crate::values::Data(input.rest().to_vec()) })
                    }
                })
            }

            pub(crate) fn write(&self, output: &mut Output) -> Result<(), WriteError> {
                match self {
                    $( Self::$plain(record) => record.write(output), )*
                    $( Self::$body(body) => body.write_body(output), )*
                    Self::Unknown(unknown) => {
                        output.put(&unknown.octets.0);
                        Ok(())
                    }
                }
            }
        }

        $(
            impl From<$body> for Record {
                fn from(body: $body) -> Self {
                    Self::$body(Box::new(body))
                }
            }
        )*
    };
}

records! {
    plain {
        /// A list.
        1 => List(List, "list"),
        /// The beginning of a cycle.
        2 => CycleStart(Cycle, "cycle-start"),
        /// A cycle that began in another file.
        3 => CycleDef(Cycle, "cycle-def"),
        /// The end of a cycle.
        4 => CycleStop(CycleStop, "cycle-stop"),
        /// An address of the file's table.
        5 => Address(GlobalAddress, "addr"),
    }
    bodies {
        /// A trace.
        6 => Trace("trace"),
        /// A ping.
        7 => Ping("ping"),
        /// A trace of all paths.
        8 => Tracelb("tracelb"),
        /// The resolution of aliases.
        9 => Dealias("dealias"),
        /// The discovery of a neighbour.
        10 => Neighbourdisc("neighbourdisc"),
        /// A test of a TCP server.
        11 => Tbit("tbit"),
        /// A measurement of loss by TCP.
        12 => Sting("sting"),
        /// A capture of packets.
        13 => Sniff("sniff"),
        /// A question to a DNS server.
        14 => Host("host"),
        /// A request by HTTP.
        15 => Http("http"),
        /// Datagrams and what came back.
        16 => Udpprobe("udpprobe"),
        /// A measurement of one-way delay.
        17 => Owamp("owamp"),
    }
}
