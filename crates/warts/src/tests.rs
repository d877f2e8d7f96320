//! What holds for records of any shape and for octets of any kind.

use proptest::prelude::*;

use crate::error::{Problem, ReadError, WriteError};
use crate::record::Record;
use crate::records::dealias::{self, Dealias, Method};
use crate::records::host::Host;
use crate::records::http::{self, Http};
use crate::records::list::{Cycle, CycleStop, List};
use crate::records::neighbourdisc::Neighbourdisc;
use crate::records::owamp::Owamp;
use crate::records::ping::{Ping, Reply};
use crate::records::sniff::Sniff;
use crate::records::sting::Sting;
use crate::records::tbit::{self, Tbit};
use crate::records::trace::{self, Trace};
use crate::records::tracelb::Tracelb;
use crate::records::udpprobe::{self, Udpprobe};
use crate::sample::{Sample, Source};
use crate::values::{Address, Data, Interface, Text};
use crate::{Reader, Unknown, Unpack};

/// A record of any type; `kind` says of which.
fn record(kind: u8, source: &mut Source) -> Record {
    match kind % 18 {
        0 => Record::Unknown(Unknown { kind: 300 + u16::sample(source) % 9, octets: Data::sample(source) }),
        1 => Record::List(List::sample(source)),
        2 => Record::CycleStart(Cycle::sample(source)),
        3 => Record::CycleDef(Cycle::sample(source)),
        4 => Record::CycleStop(CycleStop::sample(source)),
        5 => Record::Address(crate::records::list::GlobalAddress { id: 1, address: Address::sample(source) }),
        6 => any_trace(source).into(),
        7 => Ping::sample(source).into(),
        8 => Tracelb::sample(source).into(),
        9 => any_dealias(source).into(),
        10 => Neighbourdisc::sample(source).into(),
        11 => any_tbit(source).into(),
        12 => Sting::sample(source).into(),
        13 => Sniff::sample(source).into(),
        14 => Host::sample(source).into(),
        15 => {
            let mut http = Http::sample(source);
            let part = |source: &mut Source| http::Part { kind: source.octet(), data: Data::sample(source) };
            http.parts = (0..source.octet() % 3).map(|_| part(source)).collect();
            http.into()
        }
        16 => {
            let mut probe = Udpprobe::sample(source);
            let other = |source: &mut Source| udpprobe::Probe {
                about: udpprobe::AboutProbe { replyc: None, ..Sample::sample(source) },
                replies: Vec::sample(source),
            };
            probe.others = (0..source.octet() % 3).map(|_| other(source)).collect();
            probe.probe_sent = Some(u8::try_from(probe.others.len()).unwrap() + 1);
            probe.into()
        }
        _ => Owamp::sample(source).into(),
    }
}

fn any_trace(source: &mut Source) -> Trace {
    let mut trace = Trace::sample(source);
    trace.pmtud = Option::sample(source);
    trace.lastditch = Option::sample(source);
    trace.dtree = Option::sample(source);
    let part =
        |source: &mut Source| trace::Part { kind: 4 + source.octet() % 12, data: Data::sample(source) };
    trace.parts = (0..source.octet() % 3).map(|_| part(source)).collect();
    trace
}

fn any_dealias(source: &mut Source) -> Dealias {
    let mut dealias = Dealias::sample(source);
    dealias.probes = Vec::sample(source);
    dealias.method_data = match source.octet() % 8 {
        0 => Method::None,
        1 => Method::Mercator(Box::new(Sample::sample(source))),
        2 => {
            let mut ally = Box::new(dealias::Ally::sample(source));
            ally.probedefs = [Box::new(Sample::sample(source)), Box::new(Sample::sample(source))];
            Method::Ally(ally)
        }
        3 => Method::Radargun(Box::new(Sample::sample(source))),
        4 => Method::Prefixscan(Box::new(Sample::sample(source))),
        5 => Method::Bump(Box::new(Sample::sample(source))),
        6 => Method::Midarest(Box::new(Sample::sample(source))),
        _ => Method::Midardisc(Box::new(Sample::sample(source))),
    };
    dealias.method = match &dealias.method_data {
        Method::None => {
            dealias.probes.clear();
            None
        }
        Method::Mercator(_) => Some(1),
        Method::Ally(_) => Some(2),
        Method::Radargun(_) => Some(3),
        Method::Prefixscan(_) => Some(4),
        Method::Bump(_) => Some(5),
        Method::Midarest(_) => Some(6),
        Method::Midardisc(_) => Some(7),
    };
    dealias
}

fn any_tbit(source: &mut Source) -> Tbit {
    let mut tbit = Tbit::sample(source);
    let (test, part) = match source.octet() % 5 {
        0 => (1, tbit::Part::Pmtud(Sample::sample(source))),
        1 => (3, tbit::Part::Null(Sample::sample(source))),
        2 => (5, tbit::Part::Icw(Sample::sample(source))),
        3 => (8, tbit::Part::Blind(Sample::sample(source))),
        _ => (2, tbit::Part::Other { kind: 7, data: Data::sample(source) }),
    };
    let (app, other) = match source.octet() % 2 {
        0 => (1, tbit::Part::Http(Sample::sample(source))),
        _ => (5, tbit::Part::Bgp(Sample::sample(source))),
    };
    (tbit.test, tbit.app_proto, tbit.parts) = (Some(test), Some(app), vec![part, other]);
    tbit
}

fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// Adds a header.
fn framed(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&[0x12, 0x05][..], &kind.to_be_bytes(), &length.to_be_bytes(), content].concat()
}

/// A cycle's end whose table has two octets of no flags, and two octets after them.
#[test]
fn octets_that_no_flag_names_are_kept() {
    let content = [&[0; 8][..], &[0x80, 0, 0, 2, 7, 7]].concat();
    let written = framed(4, &content);
    assert_eq!(Record::from_octets(&written).unwrap().to_octets().unwrap(), written);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read(kind in any::<u8>(), drawn in octets(1_500)) {
        let record = record(kind, &mut Source::new(drawn));
        let written = record.to_octets().unwrap();
        let read = Record::from_octets(&written).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(read.to_octets().unwrap(), written);
    }

    /// What is read of anything can be written, and is the same when it is read again.
    #[test]
    fn anything_is_read_or_refused(kind in 0u16..20, content in octets(400)) {
        if let Ok(record) = Record::from_octets(&framed(kind, &content)) {
            let written = record.to_octets().unwrap();
            prop_assert_eq!(Record::from_octets(&written).unwrap(), record);
        }
    }

    /// A record of which an octet is changed.
    #[test]
    fn a_damaged_record_is_read_or_refused(kind in any::<u8>(), drawn in octets(800), at in any::<usize>(), octet in any::<u8>()) {
        let mut written = record(kind, &mut Source::new(drawn)).to_octets().unwrap();
        let at = 8 + at % (written.len() - 7);
        if let Some(place) = written.get_mut(at) {
            *place = octet;
        }
        if let Ok(record) = Record::from_octets(&written) {
            let again = record.to_octets().unwrap();
            prop_assert_eq!(Record::from_octets(&again).unwrap(), record);
        }
    }

    #[test]
    fn a_file_that_ends_early_says_so(kind in any::<u8>(), drawn in octets(800), at in any::<usize>()) {
        let written = record(kind, &mut Source::new(drawn)).to_octets().unwrap();
        let at = 1 + at % (written.len() - 1);
        let mut reader = Reader::new(&written[..at]);
        let truncated = matches!(reader.next(), Some(Err(ReadError::Truncated { offset: 0, .. })));
        prop_assert!(truncated);
        prop_assert!(reader.next().is_none());
    }

    #[test]
    fn any_file_is_unpacked_or_refused(begins in 0usize..4, content in octets(200)) {
        let magic: &[u8] = [&b"BZh9"[..], b"\x1f\x8b\x08", b"\xfd7zXZ\0", b""][begins];
        let file = [magic, &content].concat();
        if let Ok(unpacked) = Unpack::new(&file[..]) {
            let _ = Reader::new(unpacked).take(100).count();
        }
    }
}

#[test]
fn a_length_that_lies_costs_no_memory() {
    // Four gigabytes are promised, and a list of four billion probes.
    let mut file = vec![0x12, 0x05, 0, 7, 0xff, 0xff, 0xff, 0xff];
    file.extend([0; 100]);
    let error = Reader::new(&file[..]).with_limit(u32::MAX).next().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Truncated { wanted: 0xffff_ffff, found: 100, .. }), "{error}");

    let radargun =
        [&[0b101_000, 0, 5, 3, 0xff, 0xff, 0xff, 0xff][..], &[1, 0, 4, 0xff, 0xff, 0xff, 0xff]].concat();
    let error = Record::from_octets(&framed(9, &radargun)).unwrap_err();
    assert!(matches!(error, ReadError::Record { problem: Problem::Short { .. }, .. }), "{error}");

    // A definition takes one octet here and a hundred in memory.
    let mut radargun = vec![0b1000, 0, 1, 3, 1, 0, 4];
    radargun.extend(50_000_000u32.to_be_bytes());
    radargun.resize(50_000_100, 0);
    let error = Record::from_octets(&framed(9, &radargun)).unwrap_err();
    assert!(matches!(error, ReadError::Record { problem: Problem::TooMuch, .. }), "{error}");
}

#[test]
fn a_broken_record_is_passed_over() {
    let ping = Record::from(Ping { ping_sent: Some(3), ..Ping::default() }).to_octets().unwrap();
    let file = [&framed(7, &[1, 0, 9, 0])[..], &ping, b"no record"].concat();
    let mut reader = Reader::new(&file[..]);
    let error = reader.next().unwrap().unwrap_err();
    assert!(!error.is_last());
    assert_eq!(error.to_string(), "at offset 0: a record of type 7, 3 octets after its header");
    assert!(matches!(error, ReadError::Record { problem: Problem::Short { wanted: 9, left: 1 }, .. }));
    assert!(matches!(reader.next(), Some(Ok(Record::Ping(ping))) if ping.ping_sent == Some(3)));
    let error = reader.next().unwrap().unwrap_err();
    assert!(error.is_last());
    assert_eq!(error.to_string(), "at offset 29: no warts record begins here: 0x6e6f instead of 0x1205");
    assert!(reader.next().is_none());
}

#[test]
fn a_record_beyond_the_limit_is_passed_over() {
    let (long, short) = (framed(99, &[0; 500]), framed(98, &[1]));
    let file = [long, short].concat();
    let mut reader = Reader::new(&file[..]).with_limit(100);
    assert!(matches!(reader.next(), Some(Err(ReadError::TooLong { offset: 0, length: 500, .. }))));
    assert!(matches!(reader.next(), Some(Ok(Record::Unknown(Unknown { kind: 98, .. })))));
}

#[test]
fn old_files_refer_to_the_address_table() {
    let address = |id: u8, last: u8| framed(5, &[id, 1, 192, 0, 2, last]);
    // Parameters 3 and 4 are numbers of the table; the reply's is its parameter 1.
    let ping = framed(7, &[0b1100, 0, 8, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 1, 0, 4, 0, 0, 0, 1]);
    let file = [address(1, 1), address(2, 2), ping, address(4, 9)].concat();
    let records: Vec<_> = Reader::new(&file[..]).collect();
    let Ok(Record::Ping(ping)) = &records[2] else { panic!("{:?}", records[2]) };
    let v4 = |last| Some(Address::V4([192, 0, 2, last].into()));
    assert_eq!((ping.src.clone(), ping.dst.clone(), ping.replies[0].addr.clone()), (v4(2), v4(1), v4(1)));
    assert!(matches!(
        &records[3],
        Err(ReadError::Record { problem: Problem::AddressOrder { wanted: 3, found: 4 }, .. })
    ));
    // Written again, they have their addresses in full.
    let alone = Record::Ping(ping.clone()).to_octets().unwrap();
    assert_eq!(Record::from_octets(&alone).unwrap(), Record::Ping(ping.clone()));
}

#[test]
fn what_the_format_has_no_room_for_is_refused() {
    let zero = Ping { errmsg: Some(Text(vec![b'a', 0])), ..Ping::default() };
    assert!(matches!(Record::from(zero).to_octets(), Err(WriteError::ZeroInText)));
    let long = Ping {
        data: Some(Data(vec![0; 65_530])),
        errmsg: Some("a".repeat(9).as_str().into()),
        ..Ping::default()
    };
    assert!(matches!(Record::from(long).to_octets(), Err(WriteError::TooLong { .. })));
}

#[test]
fn interfaces_beyond_the_255th_have_no_number() {
    let reply =
        |at: usize| Reply { ifname: Some(Interface(format!("eth{at}").as_str().into())), ..Reply::default() };
    let ping = Ping { replies: (0..300).chain(0..300).map(reply).collect(), ..Ping::default() };
    let record = Record::from(ping);
    assert_eq!(Record::from_octets(&record.to_octets().unwrap()).unwrap(), record);
}

#[test]
fn a_method_that_is_not_known_is_kept_whole() {
    let octets = framed(9, &[0b101_000, 0, 5, 42, 0, 0, 0, 1, 9, 9, 9]);
    let record = Record::from_octets(&octets).unwrap();
    assert!(matches!(record, Record::Unknown(Unknown { kind: 9, .. })));
    assert_eq!(record.to_octets().unwrap(), octets);
}
