//! Responses, read by a codec of other hands.

use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use mmn_probe::time::{Instant, Nanos};
use proptest::prelude::*;

use crate::ids::{HostId, Id as _};
use crate::plan::Plan;
use crate::service::Services;

const WORLD: &str = r#"
[[router]]
name = "r"
addr = "198.19.0.1"
[[host]]
name = "ns1"
addr = "198.18.0.53"
at = "r"
[[host]]
name = "ns2"
addr = "198.18.0.54"
at = "r"
[[host]]
name = "res"
addr = "198.18.0.55"
at = "r"
[[zone]]
name = "example.test"
serial = 10
ttl = 120
records = [
  "@ NS ns1", "ns1 A 198.18.0.53", "www 60 A 198.18.16.1", "www AAAA 2001:db8::1", "alias CNAME www",
  "out CNAME www.other.test.", "@ MX 10 mail", "txt TXT \"two words\"", "sub NS ns.sub", "ns.sub A 198.18.0.99",
]
updates = [{ at_s = 100.0, serial = 11 }]
[[zone]]
name = "other.test"
records = ["www A 198.18.16.2"]
[[dns]]
host = "ns1"
zones = ["example.test", "other.test"]
identity = "ns1.lon"
[[dns]]
host = "ns2"
zones = ["example.test"]
lag_s = 30.0
[[dns]]
host = "res"
recursive = true
miss_ms = 25.0
"#;

struct Asked {
    message: Message,
    after: Nanos,
}

fn services() -> Services {
    Services::new(Arc::new(Plan::parse("test", WORLD).unwrap()), Instant(0))
}

fn ask(services: &mut Services, now_s: u64, host: usize, name: &str, of: (RecordType, DNSClass)) -> Asked {
    asked(services, now_s, host, name, of, true)
}

fn asked(
    services: &mut Services,
    now_s: u64,
    host: usize,
    name: &str,
    of: (RecordType, DNSClass),
    recursion_desired: bool,
) -> Asked {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = recursion_desired;
    let mut query = Query::query(Name::from_ascii(name).unwrap(), of.0);
    query.set_query_class(of.1);
    message.add_query(query);
    let now = Instant(0) + Nanos::from_secs(now_s);
    let response = services.dns(now, HostId::new(host), &message.to_vec().unwrap(), 512).unwrap();
    let message = Message::from_vec(&response.bytes).unwrap();
    assert_eq!((message.metadata.id, message.queries.len()), (77, 1));
    Asked { message, after: response.after }
}

fn internet(services: &mut Services, now_s: u64, host: usize, name: &str, of: RecordType) -> Asked {
    ask(services, now_s, host, name, (of, DNSClass::IN))
}

fn texts(asked: &Asked) -> Vec<String> {
    asked.message.answers.iter().map(|record| format!("{} {}", record.ttl, record.data)).collect()
}

#[test]
fn zones_answer() {
    let services = &mut services();
    let www = internet(services, 0, 0, "www.example.test.", RecordType::A);
    assert!(www.message.metadata.authoritative);
    assert_eq!(texts(&www), ["60 198.18.16.1"]);
    assert_eq!(texts(&internet(services, 0, 0, "www.example.test.", RecordType::AAAA)), ["120 2001:db8::1"]);
    let alias = internet(services, 0, 0, "ALIAS.example.test.", RecordType::A);
    assert_eq!(texts(&alias), ["120 www.example.test.", "60 198.18.16.1"]);
    assert_eq!(texts(&internet(services, 0, 0, "txt.example.test.", RecordType::TXT)), ["120 two words"]);
    let nothing = internet(services, 0, 0, "www.example.test.", RecordType::MX);
    assert_eq!(
        (nothing.message.metadata.response_code, nothing.message.authorities.len()),
        (ResponseCode::NoError, 1)
    );
    let nobody = internet(services, 0, 0, "nobody.example.test.", RecordType::A);
    assert_eq!(nobody.message.metadata.response_code, ResponseCode::NXDomain);
    let below = internet(services, 0, 0, "a.sub.example.test.", RecordType::A);
    assert_eq!((below.message.authorities.len(), below.message.additionals.len()), (1, 1));
    assert!(!below.message.metadata.authoritative);
    let refused = internet(services, 0, 1, "www.other.test.", RecordType::A);
    assert_eq!(refused.message.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn serials_lag() {
    let services = &mut services();
    let mut serial = |now_s, host| {
        let asked = internet(services, now_s, host, "example.test.", RecordType::SOA);
        match &asked.message.answers.first().unwrap().data {
            RData::SOA(soa) => soa.serial,
            data => panic!("{data}"),
        }
    };
    assert_eq!([serial(99, 0), serial(100, 0)], [10, 11]);
    assert_eq!([serial(129, 1), serial(130, 1)], [10, 11]);
}

#[test]
fn servers_say_who_they_are() {
    let services = &mut services();
    for name in ["hostname.bind.", "id.server."] {
        let chaos = ask(services, 0, 0, name, (RecordType::TXT, DNSClass::CH));
        assert_eq!(texts(&chaos), ["0 ns1.lon"]);
    }
}

#[test]
fn resolvers_keep_what_they_learn() {
    let services = &mut services();
    let first = internet(services, 0, 2, "www.example.test.", RecordType::A);
    assert_eq!((texts(&first), first.after), (vec!["60 198.18.16.1".to_owned()], Nanos::from_millis(25)));
    let again = internet(services, 20, 2, "www.example.test.", RecordType::A);
    assert_eq!((texts(&again), again.after), (vec!["40 198.18.16.1".to_owned()], Nanos::ZERO));
    let late = internet(services, 60, 2, "www.example.test.", RecordType::A);
    assert_eq!((texts(&late), late.after), (vec!["60 198.18.16.1".to_owned()], Nanos::from_millis(25)));
    let out = internet(services, 0, 2, "out.example.test.", RecordType::A);
    assert_eq!(texts(&out), ["120 www.other.test.", "300 198.18.16.2"]);
    assert!(out.message.metadata.recursion_available);
}

#[test]
fn resolvers_tell_what_they_keep() {
    let services = &mut services();
    let snoop = |services: &mut Services, now_s, host| {
        let asked = asked(services, now_s, host, "www.example.test.", (RecordType::A, DNSClass::IN), false);
        assert_eq!(asked.after, Nanos::ZERO);
        (asked.message.metadata.response_code, texts(&asked))
    };
    assert_eq!(snoop(services, 0, 2), (ResponseCode::NoError, vec![]));
    internet(services, 10, 2, "www.example.test.", RecordType::A);
    let kept = vec!["40 198.18.16.1".to_owned()];
    assert_eq!(snoop(services, 30, 2), (ResponseCode::NoError, kept));
    assert_eq!(snoop(services, 70, 2), (ResponseCode::NoError, vec![]));
    assert_eq!(snoop(services, 70, 0).1, ["60 198.18.16.1"]);
}

proptest! {
    #[test]
    fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), host in 0_usize..3) {
        let _ = services().dns(Instant(0), HostId::new(host), &bytes, 512);
    }
}
