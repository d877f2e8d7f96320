//! Both sides against each other, and against what was seen on the wire.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn said(client: &mut Client) -> Vec<Said> {
    std::iter::from_fn(|| client.poll()).collect()
}

fn asked(server: &mut Server, mut octets: &[u8]) -> Vec<Request> {
    let mut found = Vec::new();
    while let Some(request) = server.next(&mut octets) {
        if matches!(request, Request::Attach(_)) {
            server.attach();
        }
        found.push(request);
    }
    found
}

#[test]
fn a_session_from_attach_to_done() {
    let (mut client, mut server) = (Client::interactive(), Server::interactive());
    client.attach(&Attach::default());
    assert_eq!(asked(&mut server, &client.take()), [Request::Attach(Attach::default())]);
    server.more();
    server.data(None, b"list");
    client.receive(&server.take()).unwrap();
    let list = Said::Data { id: None, in_progress: false, octets: b"list".to_vec() };
    assert_eq!(said(&mut client), [Said::Attached, Said::More, list]);

    let ping = client.ask("ping 192.0.2.1");
    let wrong = client.ask("dance");
    let halt = client.halt(1);
    let done = client.done();
    let lines = asked(&mut server, &client.take());
    assert_eq!(lines.len(), 4);
    assert_eq!(server.accept(), 1);
    server.refuse("no such\tmeasurement");
    server.ok("halted 1");
    server.ok("");
    server.data(Some(1), &[0; 100]);
    let answer = server.take();
    for octet in &answer {
        client.receive(&[*octet]).unwrap();
    }
    assert_eq!(
        said(&mut client),
        [
            Said::Accepted(ping, 1),
            Said::Refused(wrong, "command not accepted: no such?measurement".into()),
            Said::Answer(halt, "halted 1".into()),
            Said::Answer(done, String::new()),
            Said::Data { id: Some(1), in_progress: false, octets: vec![0; 100] },
        ]
    );
}

/// What a daemon (scamper 20211212) was asked on its socket, and what it said.
const ASKED: &[u8] = include_bytes!("../../tests/data/control-asked.txt");
const SAID: &[u8] = include_bytes!("../../tests/data/control-said.txt");

#[test]
fn a_daemon_as_it_was_heard() {
    let mut client = Client::interactive();
    let version = client.ask("get version");
    let window = client.ask("get window");
    let dance = client.ask("dance");
    client.attach(&Attach::default());
    let [ping, none] = ["ping -c 1 127.0.0.1", "ping -c 0 127.0.0.1"].map(|line| client.ask(line));
    let halt = client.halt(9);
    let done = client.done();
    for octet in SAID {
        client.receive(&[*octet]).unwrap();
    }
    let (records, answers): (Vec<_>, Vec<_>) =
        said(&mut client).into_iter().partition(|said| matches!(said, Said::Data { .. }));
    assert_eq!(
        answers,
        [
            Said::Answer(version, "version 20211212".into()),
            Said::Answer(window, "window 0/0".into()),
            Said::Refused(dance, "unhandled command 'dance'".into()),
            Said::Attached,
            Said::More,
            Said::Accepted(ping, 1),
            Said::More,
            Said::Refused(none, "command not accepted".into()),
            Said::Refused(halt, "no task id-9".into()),
            Said::Answer(done, String::new()),
        ]
    );
    // The list, the beginning of its cycle, the ping and the end of the cycle. That release doesn't say which measurement a
    // record is of.
    let kinds: Vec<_> = records
        .iter()
        .map(|record| match record {
            Said::Data { id, octets, .. } => (*id, octets.get(..4).unwrap().to_vec()),
            other => panic!("{other:?}"),
        })
        .collect();
    let kind = |kind| vec![0x12, 0x05, 0, kind];
    assert_eq!(kinds, [(None, kind(1)), (None, kind(2)), (None, kind(7)), (None, kind(4))]);
}

#[test]
fn what_a_daemon_was_asked_is_understood_and_answered_alike() {
    let mut server = Server::interactive();
    let mut lines = ASKED;
    let mut records = Client::attached();
    // Its records, to be sent as it sent them.
    let blocks = SAID.windows(5).position(|five| five == b"MORE\n").unwrap();
    records.ask("ping -c 1 127.0.0.1");
    records.ask("ping -c 0 127.0.0.1");
    records.ask("halt 9");
    records.ask("done");
    records.receive(SAID.get(blocks..).unwrap()).unwrap();
    let mut records: VecDeque<_> = said(&mut records)
        .into_iter()
        .filter_map(|said| if let Said::Data { octets, .. } = said { Some(octets) } else { None })
        .collect();
    let mut next = || records.pop_front().unwrap();
    while let Some(request) = server.next(&mut lines) {
        match request {
            Request::Get(Variable::Version) => server.ok("version 20211212"),
            Request::Get(_) => server.ok("window 0/0"),
            Request::Wrong(reason) => server.err(&reason),
            Request::Attach(_) => {
                server.attach();
                server.more();
                server.data(None, &next());
                server.data(None, &next());
            }
            Request::Command(text) if text.starts_with("ping -c 1 ") => {
                let id = server.accept();
                server.more();
                server.data(Some(id), &next());
            }
            Request::Command(_) => server.err("command not accepted"),
            Request::Halt(id) => server.err(&format!("no task id-{id}")),
            Request::Done => {
                server.ok("");
                server.data(None, &next());
            }
            other => panic!("{other:?}"),
        }
    }
    let said = String::from_utf8(server.take()).unwrap().replace("DATA 136 id-1", "DATA 136");
    assert_eq!(said, String::from_utf8(SAID.to_vec()).unwrap());
}

#[test]
fn results_in_json() {
    let (mut client, mut server) = (Client::interactive(), Server::attached());
    client.attach(&Attach { format: Format::Json, ..Attach::default() });
    server.attach();
    server.json(Some(3), "{\"type\":\"ping\"}");
    client.receive(&server.take()).unwrap();
    let octets = b"{\"type\":\"ping\"}\n".to_vec();
    assert_eq!(said(&mut client).pop(), Some(Said::Data { id: Some(3), in_progress: false, octets }));
}

#[test]
fn what_is_no_line_ends_the_connection() {
    let mut server = Server::attached();
    assert_eq!(asked(&mut server, b"\x01\nping 192.0.2.1\n"), []);
    assert!(server.has_ended());
    assert_eq!(server.take(), b"ERR invalid character in line\n");
}

#[test]
fn an_answer_to_nothing_is_an_error() {
    assert_eq!(Client::attached().receive(b"OK id-1\n"), Err(ControlError::Unasked("OK id-1".into())));
    assert_eq!(Client::attached().receive(b"HELLO\n"), Err(ControlError::NoAnswer("HELLO".into())));
    assert!(matches!(
        Client::attached().receive(b"DATA 999999999 id-1\n"),
        Err(ControlError::TooLong { .. })
    ));
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..8),
        cut in 1_usize..50,
    ) {
        let mut server = Server::attached();
        for (record, id) in records.iter().zip(1..) {
            server.data(Some(id), record);
            server.more();
        }
        let mut client = Client::attached();
        for piece in server.take().chunks(cut) {
            client.receive(piece).unwrap();
        }
        let mut expected = Vec::new();
        for (record, id) in records.into_iter().zip(1..) {
            expected.push(Said::Data { id: Some(id), in_progress: false, octets: record });
            expected.push(Said::More);
        }
        prop_assert_eq!(said(&mut client), expected);
    }

    #[test]
    fn anything_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Client::attached().receive(&octets);
        asked(&mut Server::interactive(), &octets);
    }
}
