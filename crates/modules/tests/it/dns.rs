//! `dns` against scripted servers; their messages are written by another codec, to check ours against it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use mmn_kit::{Failure, Measured, Number, Octets};
use mmn_modules::StampSource;
use mmn_modules::dns::{Body, Data, Text, Transport, decode};
use mmn_schema::outcome::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::world::{CONNECT, End, Event, World, run};

const SERVER: &str = "192.0.2.53:53";
const RTT: Duration = Duration::from_millis(20);

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

/// An answer to a query with one A record.
fn answer(query: &[u8]) -> Message {
    let query = Message::from_vec(query).unwrap();
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let asked = query.queries[0].clone();
    message.add_answer(Record::from_rdata(asked.name().clone(), 300, RData::A(A::new(203, 0, 113, 9))));
    message.add_query(asked);
    message
}

fn reply(message: &Message) -> Vec<Event> {
    vec![Event::Reply(RTT, message.to_vec().unwrap())]
}

fn dns(
    params: Value,
    input: &str,
    respond: impl Fn(usize, &[u8]) -> Vec<Event> + 'static,
) -> Result<Measured<Body>, Failure> {
    let input = input.to_owned();
    run(async move {
        let world = World::new().name("ns.example", &["192.0.2.53"]).name_server(SERVER).udp(SERVER, respond);
        world.perform("dns", params, &input).await
    })
}

async fn tcp_query(end: &mut End) -> Vec<u8> {
    let length = end.stream.read_u16().await.unwrap();
    let mut query = vec![0; length.into()];
    end.stream.read_exact(&mut query).await.unwrap();
    query
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[test]
fn an_answer_is_timed_and_decoded() {
    let measured = dns(json!({}), "www.example", |_, query| reply(&answer(query))).unwrap();
    let body = measured.body;
    assert_eq!(body.rtt_ns, Some(20_000_000));
    assert_eq!(
        body.stamps.map(|stamps| (stamps.sent, stamps.received)),
        Some((StampSource::User, StampSource::Kernel))
    );
    assert_eq!((body.address.to_string().as_str(), body.port, body.server), ("192.0.2.53", 53, None));
    let response = body.response.unwrap();
    assert_eq!((response.rcode.as_str(), response.rcode_number), ("NOERROR", 0));
    assert!(response.flags.qr && response.flags.rd && response.flags.ra && !response.flags.aa);
    assert_eq!(response.question[0].name, "www.example.");
    let record = &response.answer[0];
    assert_eq!((record.name.as_str(), record.r#type.as_str(), record.ttl), ("www.example.", "A", 300));
    assert_eq!(record.rdata, "203.0.113.9");
    assert_eq!(record.data, Some(Data::Address(IpAddr::from([203, 0, 113, 9]).into())));
    assert_eq!(response.malformed, None);
    assert_eq!(decode(&body.raw.unwrap().0).unwrap(), response);
    assert_eq!(measured.answered, Some(true));
    for (number, value) in [("rtt_ns", 20_000_000), ("rcode", 0), ("answers", 1), ("attempts", 1), ("tcp", 0)]
    {
        assert_eq!(measured.summary[number], Number::Integer(value), "{number}");
    }
}

#[test]
fn the_query_is_as_asked() {
    let params = json!({
        "type": "type65", "class": "ch", "rd": false, "cd": true, "ad": true, "do": true, "bufsize": 4096,
        "nsid": true, "subnet": "198.51.100.77/20", "cookie": true,
    });
    dns(params, "a.example.", |_, bytes| {
        let query = Message::from_vec(bytes).unwrap();
        let asked = &query.queries[0];
        assert_eq!((asked.query_type(), asked.query_class()), (RecordType::HTTPS, DNSClass::CH));
        assert_eq!(*asked.name(), name("a.example."));
        let flags = &query.metadata;
        assert!(!flags.recursion_desired && flags.checking_disabled && flags.authentic_data);
        let edns = query.edns.as_ref().unwrap();
        assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 4096, true));
        let options: Vec<u16> = edns.options().as_ref().iter().map(|(code, _)| (*code).into()).collect();
        assert_eq!(options, [3, 8, 10]);
        let subnet = edns.options().as_ref().iter().find_map(|(_, option)| match option {
            EdnsOption::Subnet(subnet) => Some((subnet.addr(), subnet.source_prefix())),
            _ => None,
        });
        assert_eq!(subnet, Some((IpAddr::from([198, 51, 96, 0]), 20)));
        vec![]
    })
    .unwrap();
    let body = dns(json!({ "edns": false }), ".", |_, bytes| {
        assert!(Message::from_vec(bytes).unwrap().edns.is_none());
        reply(&answer(bytes))
    });
    assert_eq!(body.unwrap().body.query_bytes, 17);
}

#[test]
fn addresses_are_turned_round_for_ptr() {
    let body = dns(json!({ "type": "PTR" }), "192.0.2.7", |_, query| reply(&answer(query))).unwrap().body;
    assert_eq!(body.response.unwrap().question[0].name, "7.2.0.192.in-addr.arpa.");
}

#[test]
fn what_the_server_says_of_itself_is_read() {
    let body = dns(json!({ "nsid": true, "cookie": true }), "x.example", |_, query| {
        let mut message = answer(query);
        message.metadata.response_code = ResponseCode::BADTIME;
        let mut edns = Edns::new();
        edns.set_max_payload(1400);
        for (code, data) in [
            (3, b"fra1.example".to_vec()),
            (15, b"\0\x16no route to any".to_vec()),
            (15, b"\x01\xff".to_vec()),
            (8, b"\0\x01\x18\x10\xc0\0\x02".to_vec()),
            (10, b"12345678abcdefgh".to_vec()),
            (65001, b"?".to_vec()),
        ] {
            edns.options_mut().options.push((code.into(), EdnsOption::Unknown(code, data)));
        }
        message.set_edns(edns);
        reply(&message)
    })
    .unwrap()
    .body;
    let response = body.response.unwrap();
    // Two bits of it are the header's, the others the OPT record's.
    assert_eq!((response.rcode_number, response.rcode.as_str()), (18, "BADTIME"));
    let edns = response.edns.unwrap();
    assert_eq!(edns.bufsize, 1400);
    assert_eq!(edns.nsid.unwrap().text.as_deref(), Some("fra1.example"));
    assert_eq!((edns.errors[0].code, edns.errors[0].name.as_deref()), (22, Some("No Reachable Authority")));
    assert_eq!(edns.errors[0].text, Some(Text::Text("no route to any".to_owned())));
    assert_eq!((edns.errors[1].code, &edns.errors[1].name), (511, &None));
    let subnet = edns.subnet.unwrap();
    assert_eq!((subnet.address.to_string().as_str(), subnet.source, subnet.scope), ("192.0.2.0", 24, 16));
    assert_eq!(edns.cookie.unwrap().server, Some(Octets(b"abcdefgh".to_vec())));
    assert_eq!((edns.options.len(), edns.options[0].code), (1, 65001));
    assert!(response.additional.is_empty());
}

#[test]
fn nxdomain_is_ok_and_answered() {
    let measured = dns(json!({}), "no.example", |_, query| {
        let mut message = answer(query);
        message.answers.clear();
        message.metadata.response_code = ResponseCode::NXDomain;
        let soa = SOA::new(name("ns.example."), name("root.example."), 7, 1, 2, 3, 4);
        message.add_authority(Record::from_rdata(name("example."), 60, RData::SOA(soa)));
        reply(&message)
    })
    .unwrap();
    assert_eq!((measured.answered, measured.summary["rcode"]), (Some(true), Number::Integer(3)));
    let response = measured.body.response.unwrap();
    assert_eq!(response.authority[0].rdata, "ns.example. root.example. 7 1 2 3 4");
    assert_eq!(measured.summary["answers"], Number::Integer(0));
}

#[test]
fn silence_is_ok_and_not_answered() {
    let measured = dns(json!({ "retries": 1, "timeout": "300ms" }), "a.example", |_, _| vec![]).unwrap();
    assert_eq!(measured.answered, Some(false));
    assert_eq!(measured.body.attempts.len(), 2);
    assert_eq!(measured.body.total_ns, 600_000_000);
    for attempt in &measured.body.attempts {
        assert_eq!(attempt.error.as_ref().unwrap().code, "timeout");
        assert!(attempt.sent_at.is_some());
    }
    assert_eq!(measured.summary.keys().collect::<Vec<_>>(), ["attempts"]);
    assert_eq!((measured.body.response, measured.body.raw), (None, None));
}

#[test]
fn a_refusal_by_icmp_is_an_error_of_the_attempt() {
    let measured = dns(json!({ "retries": 1 }), "a.example", |number, query| match number {
        0 => vec![Event::Refuse(RTT)],
        _ => reply(&answer(query)),
    })
    .unwrap();
    assert_eq!(measured.body.attempts[0].error.as_ref().unwrap().code, "connection-refused");
    assert_eq!(measured.body.attempts[1].rtt_ns, Some(20_000_000));
    assert_eq!(measured.body.total_ns, 40_000_000);
}

#[test]
fn a_late_answer_belongs_to_its_own_query() {
    let measured = dns(json!({ "timeout": "100ms" }), "a.example", |number, query| match number {
        0 => vec![Event::Reply(Duration::from_millis(130), answer(query).to_vec().unwrap())],
        _ => vec![],
    })
    .unwrap();
    let body = measured.body;
    assert_eq!((body.rtt_ns, body.attempts.len()), (Some(130_000_000), 2));
    assert_eq!((body.attempts[0].rtt_ns, body.attempts[1].rtt_ns), (Some(130_000_000), None));
    assert_eq!(body.attempts[0].error, None);
}

#[test]
fn forged_and_foreign_messages_are_counted_and_passed_over() {
    let body = dns(json!({}), "a.example", |_, query| {
        let good = answer(query);
        let mut wrong_id = good.clone();
        wrong_id.metadata.id = good.metadata.id.wrapping_add(1);
        let mut wrong_question = answer(query);
        wrong_question.queries[0].set_name(name("b.example."));
        let mut a_query = answer(query);
        a_query.metadata.message_type = MessageType::Query;
        let early = |message: &Message| Event::Reply(RTT / 2, message.to_vec().unwrap());
        let mut events = vec![early(&wrong_id), early(&wrong_question), early(&a_query)];
        events.push(Event::Reply(RTT / 2, b"garbage".to_vec()));
        events.extend(reply(&good));
        events
    })
    .unwrap()
    .body;
    assert_eq!((body.ignored.wrong_id, body.ignored.wrong_question, body.ignored.garbage), (1, 1, 2));
    assert_eq!(body.response.unwrap().answer.len(), 1);
}

#[test]
fn mixed_case_must_be_repeated() {
    let body =
        dns(json!({ "mixed_case": true, "retries": 0 }), "abcdefghijklmnopqrstuvwxyz.example", |_, query| {
            let good = answer(query);
            let mut lower = answer(query);
            let asked = lower.queries[0].name().to_lowercase();
            assert_ne!(asked.to_string(), good.queries[0].name().to_string());
            lower.queries[0].set_name(asked);
            let early = Event::Reply(RTT / 2, lower.to_vec().unwrap());
            [vec![early], reply(&good)].concat()
        })
        .unwrap()
        .body;
    assert_eq!(body.ignored.wrong_question, 1);
    assert_eq!(body.rtt_ns, Some(20_000_000));
}

#[test]
fn a_broken_answer_is_an_answer() {
    let measured = dns(json!({}), "a.example", |_, query| {
        let mut bytes = answer(query).to_vec().unwrap();
        bytes.truncate(bytes.len() - 2);
        vec![Event::Reply(RTT, bytes)]
    })
    .unwrap();
    assert_eq!(measured.answered, Some(true));
    let response = measured.body.response.unwrap();
    assert!(response.malformed.unwrap().contains("ends too early"));
    assert_eq!(measured.summary["answers"], Number::Integer(0));
}

fn truncating(number_of_udp_answers: usize) -> impl Fn(usize, &[u8]) -> Vec<Event> {
    move |number, query| {
        let mut message = answer(query);
        message.metadata.truncation = number < number_of_udp_answers;
        message.answers.clear();
        reply(&message)
    }
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let body = run(async {
        let world = World::new().udp(SERVER, truncating(1)).tcp(SERVER, |mut end| async move {
            let query = tcp_query(&mut end).await;
            let mut foreign = answer(&query);
            foreign.metadata.id ^= 1;
            tokio::time::sleep(RTT).await;
            end.send(&framed(&foreign.to_vec().unwrap())).await;
            let mut message = answer(&query);
            let text = TXT::new(vec!["x".repeat(200); 20]);
            message.add_answer(Record::from_rdata(name("a.example."), 5, RData::TXT(text)));
            end.send(&framed(&message.to_vec().unwrap())).await;
        });
        world.perform::<Body>("dns", json!({ "server": "192.0.2.53" }), "a.example").await.unwrap()
    });
    assert_eq!(body.summary["tcp"], Number::Integer(1));
    assert_eq!(body.summary["attempts"], Number::Integer(2));
    let body = body.body;
    assert_eq!(body.transport, Transport::Tcp);
    assert_eq!(body.ignored.wrong_id, 1);
    let [udp, tcp] = &body.attempts[..] else { panic!("{:?}", body.attempts) };
    assert!(udp.truncated && udp.transport == Transport::Udp && udp.rtt_ns == Some(20_000_000));
    assert_eq!((tcp.connect_ns, tcp.rtt_ns), (Some(10_000_000), Some(20_000_000)));
    assert_eq!(body.rtt_ns, tcp.rtt_ns);
    assert_eq!(body.total_ns, 50_000_000);
    assert_eq!(body.response.unwrap().answer.len(), 2);
}

#[test]
fn without_fallback_the_truncated_answer_stands() {
    let body = dns(json!({ "no_fallback": true }), "a.example", truncating(1)).unwrap().body;
    assert!(body.response.unwrap().flags.tc && body.attempts[0].truncated);
    assert_eq!(body.transport, Transport::Udp);
}

#[test]
fn a_fallback_that_fails_leaves_the_truncated_answer() {
    let body = dns(json!({}), "a.example", truncating(1)).unwrap().body;
    assert_eq!(body.transport, Transport::Udp);
    assert!(body.response.unwrap().flags.tc);
    assert_eq!(body.attempts[1].error.as_ref().unwrap().code, "connection-refused");
    assert_eq!(body.attempts[1].sent_at, None);
}

#[test]
fn tcp_tells_its_failures_apart() {
    let over_tcp = |world: World| {
        run(async move {
            let params = json!({ "server": SERVER, "protocol": "tcp", "retries": 0, "timeout": "500ms" });
            world.perform::<Body>("dns", params, "a.example").await.unwrap()
        })
    };
    let error = |world: World| {
        let measured = over_tcp(world);
        assert_eq!(measured.answered, Some(false));
        measured.body.attempts[0].error.clone().unwrap().code.into_owned()
    };
    assert_eq!(error(World::new().refuse(SERVER)), "connection-refused");
    assert_eq!(error(World::new().silence(SERVER)), "timeout");
    assert_eq!(error(World::new().tcp(SERVER, End::hold)), "timeout");
    assert_eq!(
        error(World::new().tcp(SERVER, |mut end| async move {
            tcp_query(&mut end).await;
            end.reset();
        })),
        "connection-reset"
    );
    assert_eq!(
        error(World::new().tcp(SERVER, |mut end| async move {
            tcp_query(&mut end).await;
            end.send(b"\0\x20only a part").await;
        })),
        "protocol"
    );
    let slow = World::new().tcp(SERVER, |mut end| async move {
        tcp_query(&mut end).await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            end.send(b"\0").await;
        }
    });
    assert_eq!(error(slow), "timeout");
    let good = over_tcp(World::new().tcp(SERVER, |mut end| async move {
        let query = tcp_query(&mut end).await;
        end.send(&framed(&answer(&query).to_vec().unwrap())).await;
    }));
    assert_eq!(good.body.attempts[0].connect_ns, u64::try_from(CONNECT.as_nanos()).ok());
    assert_eq!(good.summary["tcp"], Number::Integer(1));
}

#[test]
fn servers_without_address_or_leave_are_failures() {
    let failure = |world: World, server: Option<&str>| {
        let params = json!({ "server": server });
        run(async move { world.perform::<Body>("dns", params, "a.example").await.unwrap_err() })
    };
    let told = |failure: Failure| (failure.outcome, failure.reason.code.into_owned());
    let unresolvable = (Outcome::Failed, "unresolvable".to_owned());
    assert_eq!(told(failure(World::new(), Some("no.example"))), unresolvable);
    assert_eq!(told(failure(World::new(), None)), unresolvable);
    let forbidden = World::new().forbid("192.0.2.53");
    assert_eq!(told(failure(forbidden, Some(SERVER))), (Outcome::Refused, "policy".to_owned()));
    let nonsense = told(failure(World::new(), Some("a:b:c")));
    assert_eq!(nonsense, (Outcome::Refused, "parameters".to_owned()));
    let no_name = run(async { World::new().perform::<Body>("dns", json!({}), "a..b").await.unwrap_err() });
    assert_eq!(no_name.reason.code, "parameters");
}

#[test]
fn a_named_server_is_resolved_and_timed() {
    let body =
        dns(json!({ "server": "ns.example" }), "a.example", |_, query| reply(&answer(query))).unwrap().body;
    assert_eq!((body.resolve_ns, body.server.as_deref()), (Some(7_000_000), Some("ns.example")));
}

#[test]
fn the_deadline_of_the_task_ends_it_with_what_there_is() {
    let body = run(async {
        let world = World::new().name_server(SERVER).deadline_in(Duration::from_millis(500));
        world
            .perform::<Body>("dns", json!({ "retries": 0, "timeout": "2s" }), "a.example")
            .await
            .unwrap()
            .body
    });
    assert!(body.total_ns < 500_000_000 && body.attempts.len() == 1);
}

fn any_name() -> impl Strategy<Value = Name> {
    prop::collection::vec("[a-zA-Z0-9_][a-zA-Z0-9_-]{0,12}", 1..5)
        .prop_map(|labels| name(&format!("{}.", labels.join("."))))
}

fn any_record() -> impl Strategy<Value = (Record, String, String)> {
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|a| (RData::A(A(a.into())), "A", std::net::Ipv4Addr::from(a).to_string())),
        any::<[u8; 16]>().prop_map(|a| (
            RData::AAAA(AAAA(a.into())),
            "AAAA",
            std::net::Ipv6Addr::from(a).to_string()
        )),
        any_name().prop_map(|to| (RData::CNAME(CNAME(to.clone())), "CNAME", to.to_string())),
        (any::<u16>(), any_name()).prop_map(|(n, to)| (
            RData::MX(MX::new(n, to.clone())),
            "MX",
            format!("{n} {to}")
        )),
        (any::<[u16; 3]>(), any_name()).prop_map(|([a, b, c], to)| {
            (RData::SRV(SRV::new(a, b, c, to.clone())), "SRV", format!("{a} {b} {c} {to}"))
        }),
        prop::collection::vec("[a-z ]{0,40}", 1..4).prop_map(|texts| {
            let shown = texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" ");
            (RData::TXT(TXT::new(texts)), "TXT", shown)
        }),
    ];
    (any_name(), any::<u32>(), data).prop_map(|(owner, ttl, (data, number, shown))| {
        // The other codec keeps a TTL's top bit for itself (RFC 2181, section 8).
        (Record::from_rdata(owner, ttl & 0x7fff_ffff, data), number.to_owned(), shown)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_codecs_agree(id: u16, records in prop::collection::vec(any_record(), 0..12)) {
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        for (number, (record, ..)) in records.iter().enumerate() {
            match number % 3 {
                0 => message.add_answer(record.clone()),
                1 => message.add_authority(record.clone()),
                _ => message.add_additional(record.clone()),
            };
        }
        let decoded = decode(&message.to_vec().unwrap()).unwrap();
        prop_assert_eq!((decoded.id, decoded.malformed.clone(), decoded.trailing_bytes), (id, None, 0));
        for (number, (record, kind, shown)) in records.iter().enumerate() {
            let section = [&decoded.answer, &decoded.authority, &decoded.additional][number % 3];
            let ours = &section[number / 3];
            prop_assert_eq!(&ours.name, &record.name.to_string());
            prop_assert_eq!((&ours.r#type, ours.ttl, &ours.rdata), (kind, record.ttl, shown));
        }
    }

    #[test]
    fn any_datagram_is_survived(bytes: Vec<u8>, keep_id: bool) {
        let measured = dns(json!({ "retries": 0 }), "a.example", move |_, query| {
            let mut bytes = bytes.clone();
            if keep_id && bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&query[..2]);
            }
            vec![Event::Reply(RTT, bytes), Event::Reply(RTT * 2, answer(query).to_vec().unwrap())]
        });
        prop_assert_eq!(measured.unwrap().answered, Some(true));
    }
}

#[test]
fn the_server_may_stand_anywhere_a_socket_address_can() {
    let at: SocketAddr = "[2001:db8::53]:5353".parse().unwrap();
    let body = run(async {
        let world = World::new().udp("[2001:db8::53]:5353", |_, query| reply(&answer(query)));
        let params = json!({ "server": "2001:db8::53", "port": 5353, "family": "ipv6" });
        world.perform::<Body>("dns", params, "a.example").await.unwrap().body
    });
    assert_eq!((body.address.0, body.port), (at.ip(), at.port()));
}
