//! A pair of sides under a clock of numbers.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pair() -> (Session, Session) {
    let magic = Magic::new(*b"01234567");
    (Session::new(Role::Master, magic.clone(), at(0)), Session::new(Role::Daemon, magic, at(0)))
}

/// Carries octets both ways until nothing moves.
fn settle(now: Duration, master: &mut Session, daemon: &mut Session) {
    loop {
        let (down, up) = (master.take(), daemon.take());
        if down.is_empty() && up.is_empty() {
            return;
        }
        daemon.receive(now, &down).unwrap();
        master.receive(now, &up).unwrap();
    }
}

fn heard(session: &mut Session) -> Vec<Heard> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn data(channel: u32, text: &str) -> Heard {
    Heard::Data { channel, octets: text.as_bytes().to_vec() }
}

/// A broken connection, and the greeting of the next.
fn come_back(now: Duration, master: &mut Session, daemon: &mut Session) {
    master.broken();
    daemon.broken();
    let greeting = resume(&daemon.resume());
    let Ok(Some(Greeted::Resume(resume))) = Greeting::default().receive(&mut greeting.as_slice()) else {
        panic!("no greeting")
    };
    master.resumed(now, &resume).unwrap();
    let answer = master.take();
    let mut rest = answer.as_slice();
    let Ok(Some(Greeted::Ok(expects))) = Greeting::default().receive(&mut rest) else { panic!("no answer") };
    daemon.accepted(now, expects).unwrap();
    daemon.receive(now, rest).unwrap();
    settle(now, master, daemon);
}

#[test]
fn a_channel_from_open_to_finish() {
    let (mut master, mut daemon) = pair();
    let channel = master.open(at(1));
    master.send(at(1), channel, b"ping 192.0.2.1\ndone\n");
    settle(at(1), &mut master, &mut daemon);
    assert_eq!(heard(&mut daemon), [Heard::Opened(1), data(1, "ping 192.0.2.1\ndone\n")]);
    daemon.send(at(2), channel, b"OK id-1\n");
    daemon.finish(at(2), channel);
    settle(at(2), &mut master, &mut daemon);
    assert_eq!(heard(&mut master), [data(1, "OK id-1\n"), Heard::Finished(1)]);
    // A daemon that has finished takes a message about the channel for an error: none is sent.
    master.finish(at(3), channel);
    assert_eq!(master.take(), b"");
    assert_eq!((master.unacknowledged(), daemon.unacknowledged()), (0, 0));
    assert_eq!(master.open(at(4)), 2);
}

#[test]
fn a_master_that_finishes_is_answered() {
    let (mut master, mut daemon) = pair();
    let channel = master.open(at(1));
    master.finish(at(1), channel);
    settle(at(1), &mut master, &mut daemon);
    assert_eq!(heard(&mut daemon), [Heard::Opened(1), Heard::Finished(1)]);
    daemon.finish(at(1), channel);
    settle(at(1), &mut master, &mut daemon);
    assert_eq!(heard(&mut master), [Heard::Finished(1)]);
    master.finish(at(1), channel);
    assert_eq!(master.take(), b"");
}

#[test]
fn the_bytes_of_a_session_that_is_resumed() {
    let (mut master, _) = pair();
    master.open(at(0));
    assert_eq!(master.take(), b"\0\0\0\0\0\0\0\0\0\x05\x02\0\0\0\x01");
    // The acknowledgement, then MORE on the channel.
    master.receive(at(0), b"\0\0\0\0\0\0\0\0\0\x05\x05\0\0\0\0\0\0\0\0\0\0\0\x01\0\x05MORE\n").unwrap();
    assert_eq!(master.take(), b"\0\0\0\x01\0\0\0\0\0\x05\x05\0\0\0\0");
    master.broken();
    master.send(at(1), 1, b"done\n");
    assert_eq!(master.take(), b"");
    let come = b"\0\0\0\0\0\0\0\0\0\x16\x06\x0801234567\0\0\0\x01\0\0\0\0\0\0\0\x01";
    let Ok(Some(Greeted::Resume(resume))) = Greeting::default().receive(&mut come.as_slice()) else {
        panic!()
    };
    master.resumed(at(2), &resume).unwrap();
    assert_eq!(master.take(), b"\0\0\0\0\0\0\0\0\0\x05\x08\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x05done\n");
}

#[test]
fn a_session_that_is_not_known_begins_anew() {
    let (mut master, _) = pair();
    let stranger = Resume { magic: Magic::new(*b"76543210"), expects: 0, unacknowledged: 0, next: 0 };
    assert_eq!(master.resumed(at(1), &stranger), Err(RemoteError::Resume));
    let ahead = Resume { magic: Magic::new(*b"01234567"), expects: 5, unacknowledged: 0, next: 0 };
    assert_eq!(master.resumed(at(1), &ahead), Err(RemoteError::Resume));
    let lost = Resume { magic: Magic::new(*b"01234567"), expects: 0, unacknowledged: 3, next: 4 };
    assert_eq!(master.resumed(at(1), &lost), Err(RemoteError::Resume));
    let mut greeting = Greeting::default();
    assert_eq!(greeting.receive(&mut reject().as_slice()), Ok(Some(Greeted::Rejected)));
    let name = MonitorName::new("ams-nl");
    let new = greet(&Magic::new(*b"76543210"), name.as_ref());
    let expected = Greeted::New { magic: Magic::new(*b"76543210"), name };
    assert_eq!(greeting.receive(&mut new.as_slice()), Ok(Some(expected)));
    assert_eq!(
        greeting.receive(&mut accept("192.0.2.1:4").as_slice()),
        Ok(Some(Greeted::Id("192.0.2.1:4".into())))
    );
}

#[test]
fn silence_is_filled_and_then_an_end() {
    let (mut master, mut daemon) = pair();
    assert_eq!(master.deadline(), Some(at(30)));
    master.tick(at(29)).unwrap();
    assert_eq!(master.take(), b"");
    master.tick(at(30)).unwrap();
    assert_eq!(master.take(), b"\0\0\0\0\0\0\0\0\0\x01\x04");
    assert_eq!(master.deadline(), Some(at(60)));
    daemon.tick(at(30)).unwrap();
    master.receive(at(31), &daemon.take()).unwrap();
    assert_eq!(master.tick(at(90)), Ok(()));
    assert_eq!(master.tick(at(91)), Err(RemoteError::Silent));
    master.broken();
    assert_eq!(master.deadline(), None);
    assert_eq!(master.tick(at(1_000)), Ok(()));
}

#[test]
fn what_is_out_of_step_is_an_error() {
    let (mut master, _) = pair();
    let wrong = RemoteError::Sequence { wanted: 0, found: 1 };
    assert_eq!(master.receive(at(0), b"\0\0\0\x01\0\0\0\x01\0\x01x"), Err(wrong));
    let (mut master, mut daemon) = pair();
    assert_eq!(master.receive(at(0), b"\0\0\0\0\0\0\0\0\0\0"), Err(RemoteError::Empty));
    assert_eq!(daemon.receive(at(0), b"\0\0\0\0\0\0\0\x09\0\x01x"), Err(RemoteError::NotOpen(9)));
    let (mut master, _) = pair();
    let ack = b"\0\0\0\0\0\0\0\0\0\x05\x05\0\0\0\x03";
    assert_eq!(master.receive(at(0), ack), Err(RemoteError::Acknowledgement(3)));
}

/// What a daemon (scamper 20211212) was asked over its connection, and what it said.
const ASKED: &[u8] = include_bytes!("../../tests/data/remote-asked.bin");
const SAID: &[u8] = include_bytes!("../../tests/data/remote-said.bin");

#[test]
fn a_daemon_as_it_was_heard() {
    let mut said = SAID;
    let Ok(Some(Greeted::New { magic, name })) = Greeting::default().receive(&mut said) else { panic!() };
    assert_eq!(name, MonitorName::new("ams-nl"));
    let mut asked = accept("127.0.0.1:40000");
    let mut session = Session::new(Role::Master, magic, at(0));
    let channel = session.open(at(0));
    let mut text = Vec::new();
    // It was asked when its list and its ping had come.
    let mut waits = vec![b"done\n".as_slice(), b"ping -c 1 127.0.0.1\n"];
    let mut blocks = 0;
    asked.extend(session.take());
    for octet in said {
        session.receive(at(1), &[*octet]).unwrap();
        while let Some(heard) = session.poll() {
            match heard {
                Heard::Data { octets, .. } => {
                    blocks += usize::from(octets.ends_with(b"`\n"));
                    text.extend(octets);
                }
                Heard::Finished(1) => text.extend(b"<FIN>"),
                other => panic!("{other:?}"),
            }
        }
        asked.extend(session.take());
        if blocks == 4 - waits.len()
            && let Some(line) = waits.pop()
        {
            session.send(at(1), channel, line);
            asked.extend(session.take());
        }
    }
    assert_eq!(asked, ASKED);
    assert!(text.starts_with(b"MORE\nDATA 64\n") && text.ends_with(b"`\n<FIN>"), "{text:?}");
    assert_eq!(session.unacknowledged(), 0);
}

proptest! {
    /// Whatever is lost when connections break: all that was sent arrives, once and in order.
    #[test]
    fn nothing_is_lost_or_doubled(
        steps in proptest::collection::vec((0_u8..4, 0_usize..40, any::<u8>()), 1..60),
    ) {
        let (mut master, mut daemon) = pair();
        let channel = master.open(at(0));
        settle(at(0), &mut master, &mut daemon);
        let (mut sent, mut got) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (step, cut, octet) in steps {
            match step {
                0 => {
                    master.send(at(0), channel, &[octet; 3]);
                    sent.0.extend([octet; 3]);
                }
                1 => {
                    daemon.send(at(0), channel, &[octet; 5]);
                    sent.1.extend([octet; 5]);
                }
                2 => settle(at(0), &mut master, &mut daemon),
                _ => {
                    // The connection breaks within what is under way.
                    let (down, up) = (master.take(), daemon.take());
                    daemon.receive(at(0), down.get(..cut.min(down.len())).unwrap()).unwrap();
                    master.receive(at(0), up.get(..cut.min(up.len())).unwrap()).unwrap();
                    come_back(at(0), &mut master, &mut daemon);
                }
            }
        }
        settle(at(0), &mut master, &mut daemon);
        for (session, into) in [(&mut daemon, &mut got.0), (&mut master, &mut got.1)] {
            for heard in heard(session) {
                if let Heard::Data { octets, .. } = heard {
                    into.extend(octets);
                }
            }
        }
        prop_assert_eq!(got, sent);
        prop_assert_eq!((master.unacknowledged(), daemon.unacknowledged()), (0, 0));
    }

    #[test]
    fn anything_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut master, mut daemon) = pair();
        let _ = master.receive(at(0), &octets);
        let _ = daemon.receive(at(0), &octets);
        let _ = Greeting::default().receive(&mut octets.as_slice());
    }
}
