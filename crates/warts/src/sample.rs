//! Records of any shape, drawn from octets: for tests.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::records::dealias::Ports;
use crate::records::host::{Element, RrData};
use crate::values::{
    Address, CycleId, Data, Data8, Extension, Extensions, IcmpType, InFull, Interface, List8, List16, List32,
    ListId, Micros, Text, Time, TimestampReply, Timestamps,
};
use crate::wire::Extra;

/// Octets to draw from. When they are used up, all is zero, absent and empty.
pub(crate) struct Source(std::vec::IntoIter<u8>);

impl Source {
    pub(crate) fn new(octets: Vec<u8>) -> Self {
        Self(octets.into_iter())
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.0.next().unwrap_or(0)
    }

    fn octets(&mut self, most: u8) -> Vec<u8> {
        (0..self.octet() % (most + 1)).map(|_| self.octet()).collect()
    }
}

pub(crate) trait Sample {
    fn sample(source: &mut Source) -> Self;
}

macro_rules! drawn {
    ($($type:ty: |$source:ident| $value:expr;)*) => { $(
        impl Sample for $type {
            fn sample($source: &mut Source) -> Self {
                $value
            }
        }
    )* };
}

drawn! {
    u8: |source| source.octet();
    u16: |source| u16::from_be_bytes([source.octet(), source.octet()]);
    u32: |source| u32::from_be_bytes([source.octet(), source.octet(), source.octet(), source.octet()]);
    i32: |source| u32::sample(source).cast_signed();
    ListId: |source| Self(u32::sample(source));
    CycleId: |source| Self(u32::sample(source));
    Micros: |source| Self(u32::sample(source));
    Time: |source| Self { sec: u32::sample(source), usec: u32::sample(source) };
    IcmpType: |source| Self { kind: source.octet(), code: source.octet() };
    TimestampReply: |source| {
        Self { originate: u32::sample(source), receive: u32::sample(source), transmit: u32::sample(source) }
    };
    Ports: |source| Self { sport: u16::sample(source), dport: u16::sample(source) };
    // Few enough different ones that some are the same.
    Address: |source| match source.octet() % 5 {
        0 | 1 => Self::V4(Ipv4Addr::new(192, 0, 2, source.octet() % 3)),
        2 => Self::V6(Ipv6Addr::from([source.octet() % 3; 16])),
        3 => Self::Ethernet([source.octet() % 3; 6]),
        _ => Self::new(9, &[source.octet() % 3, 1]),
    };
    InFull: |source| Self(Address::sample(source));
    Text: |source| {
        let octets = source.octets(5);
        Self(octets.into_iter().map(|octet| octet.max(1)).collect())
    };
    Interface: |source| Self(Text(vec![b'a' + source.octet() % 3]));
    Data: |source| Self(source.octets(9));
    Data8: |source| Self(source.octets(9));
    Extension: |source| Self { class: source.octet(), kind: source.octet(), data: Data::sample(source) };
    Extensions: |source| Self(Vec::sample(source));
    Timestamps: |source| Self { stamps: Vec::sample(source), addresses: Vec::sample(source) };
    Element: |source| Self { code: u16::sample(source), data: Data::sample(source) };
    crate::records::dealias::Round: |source| {
        Self { start: Time::sample(source), begin: u32::sample(source), end: u32::sample(source) }
    };
    // `Other` takes all that is left of a table, unknown parameters too.
    RrData: |source| match source.octet() % 7 {
        0 => Self::Address(Address::sample(source)),
        1 => Self::Name(Text::sample(source)),
        2 => Self::Soa(Box::new(Sample::sample(source))),
        3 => Self::Mx(Sample::sample(source)),
        4 => Self::Txt(Sample::sample(source)),
        5 => Self::Opt(Sample::sample(source)),
        _ => Self::Svcb(Sample::sample(source)),
    };
    Extra: |source| {
        // Far above any table's own.
        let ids = source.octets(2).into_iter().map(u32::from).map(|id| id + 60).collect::<std::collections::BTreeSet<_>>();
        let octets = if ids.is_empty() { Vec::new() } else { source.octets(9) };
        Self { ids: ids.into_iter().collect(), octets: Data(octets) }
    };
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source) -> Self {
        (source.octet() % 4 > 1).then(|| T::sample(source))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source) -> Self {
        let count = source.octet();
        (0..if count > 200 { 3 } else { count % 3 }).map(|_| T::sample(source)).collect()
    }
}

impl<T: Sample> Sample for List8<T> {
    fn sample(source: &mut Source) -> Self {
        Self(Vec::sample(source))
    }
}

impl<T: Sample> Sample for List16<T> {
    fn sample(source: &mut Source) -> Self {
        Self(Vec::sample(source))
    }
}

impl<T: Sample> Sample for List32<T> {
    fn sample(source: &mut Source) -> Self {
        Self(Vec::sample(source))
    }
}
