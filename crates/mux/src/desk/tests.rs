//! Clients against answers that are written here.

use mmn_scamper::control::Said;
use mmn_scamper::mux::{Attribute, Heard, Vp};
use mmn_schema::api::{Cursor, Ledger, Measurement, MeasurementState};
use mmn_schema::body::Body;
use mmn_schema::dispatch::Input;
use mmn_schema::id::TaskId;
use mmn_schema::outcome::{Outcome, Reason, Summary, code};
use mmn_schema::problem::Problem;
use mmn_schema::time::Timestamp;
use mmn_schema::vp::PolicySummary;
use mmn_translate::request::Allowed;

use crate::pace::Limits;

use super::*;

const NOW: u32 = 1_700_000_000;

fn place(number: u32, name: &str) -> Arc<Place> {
    Arc::new(Place {
        id: format!("abcdefghijklmno{}", char::from(b'a' + u8::try_from(number).unwrap())).parse().unwrap(),
        name: name.into(),
        kinds: ["ping", "trace"].map(str::to_owned).into(),
        allowed: Allowed::default(),
        limits: None,
        simulated: false,
        told: Vp::new(number).with(Attribute::Name, name),
    })
}

fn roster(names: &[(u32, &str)]) -> Roster {
    Arc::new(names.iter().map(|(number, name)| (*number, place(*number, name))).collect())
}

/// A client, its control connections by channel, and the desk that it speaks to.
struct Pair {
    desk: Desk,
    mux: mux::Client,
    controls: BTreeMap<u32, control::Client>,
    vps: Vec<String>,
    said: Vec<(u32, Said)>,
    closed: Vec<u32>,
}

impl Pair {
    fn new(names: &[(u32, &str)]) -> Self {
        let desk = Desk::new(Face::Mux(mux::Server::default()), roster(names), NOW);
        let (mux, controls) = (mux::Client::default(), BTreeMap::new());
        let mut pair = Self { desk, mux, controls, vps: Vec::new(), said: Vec::new(), closed: Vec::new() };
        pair.carry();
        pair
    }

    fn open(&mut self, instance: u32) -> u32 {
        let channel = self.mux.open(instance);
        self.controls.insert(channel, control::Client::attached());
        self.carry();
        channel
    }

    fn ask(&mut self, channel: u32, lines: &[&str]) {
        for line in lines {
            self.controls.get_mut(&channel).unwrap().ask(line);
        }
        self.carry();
    }

    /// Carries octets both ways until nothing moves.
    fn carry(&mut self) {
        for (channel, control) in &mut self.controls {
            let octets = control.take();
            self.mux.send(*channel, &octets);
        }
        self.desk.receive(NOW, &self.mux.take()).unwrap();
        let out = std::mem::take(self.desk.out());
        self.mux.receive(&out).unwrap();
        while let Some(heard) = self.mux.poll() {
            match heard {
                Heard::Vp(vp) => self.vps.push(vp.get(Attribute::Name).unwrap().to_owned()),
                Heard::Departed(number) => self.vps.push(format!("-{number}")),
                Heard::Go => self.vps.push("go".into()),
                Heard::Closed(channel) => self.closed.push(channel),
                Heard::Data { channel, octets } => {
                    let control = self.controls.get_mut(&channel).unwrap();
                    control.receive(&octets).unwrap();
                    self.said.extend(std::iter::from_fn(|| control.poll()).map(|said| (channel, said)));
                }
            }
        }
    }

    fn hear(&mut self, said: FromAnchor) {
        self.desk.heard(NOW, said);
        self.carry();
    }

    /// What was said since the last call, in words.
    fn words(&mut self) -> Vec<String> {
        let word = |said: Said| match said {
            Said::Accepted(_, id) => format!("ok {id}"),
            Said::Refused(_, reason) => reason,
            Said::Answer(_, text) => format!("ok {text}"),
            Said::More => "more".into(),
            Said::Data { id, octets, .. } => match Record::from_octets(&octets).unwrap() {
                Record::Ping(ping) => {
                    let said = ping.errmsg.as_ref().map(|text| format!(" {}", text.to_str()));
                    let stop = ping.stop_reason.and_then(mmn_warts::names::ping_stop).unwrap_or("?");
                    format!("ping {} {stop}{}", id.unwrap(), said.unwrap_or_default())
                }
                other => other.kind().name().into(),
            },
            other => format!("{other:?}"),
        };
        std::mem::take(&mut self.said).into_iter().map(|(_, said)| word(said)).collect()
    }

    /// The measurements that were put to the anchor: their questions and how many inputs each has.
    fn measured(&mut self) -> Vec<(u64, usize)> {
        let measures = self.desk.questions().into_iter().filter_map(|question| match question {
            FromClient::Measure { id, request, .. } => Some((id, request.inputs.len())),
            _ => None,
        });
        measures.collect()
    }
}

fn msm(number: u64) -> MeasurementId {
    MeasurementId::new(1_700_000_000_000 + number, &[0; 10])
}

fn results(id: u64, indices: &[u64], outcome: Outcome) -> FromAnchor {
    let records = indices.iter().map(|index| ResultRecord {
        cursor: Some(Cursor { seq: 1, pos: 0 }),
        task: TaskId { measurement: msm(id), index: *index },
        kind: "ping".parse().unwrap(),
        vp: None,
        vp_name: None,
        instance: None,
        input: Input::Target("192.0.2.1".into()),
        attempt: 0,
        part: None,
        last: true,
        outcome,
        reason: (outcome != Outcome::Ok).then(|| Reason::with(code::NO_ROUTE, "there is none")),
        answered: None,
        started_at: None,
        duration_ns: None,
        summary: Summary::default(),
        body: Body::null(),
        simulated: false,
    });
    FromAnchor::Results { id, records: records.collect() }
}

#[test]
fn vantage_points_come_and_go() {
    let mut pair = Pair::new(&[(1, "a"), (2, "b")]);
    assert_eq!(pair.vps, ["a", "b", "go"]);
    pair.desk.roster(roster(&[(2, "b"), (3, "c")]));
    pair.carry();
    assert_eq!(pair.vps, ["a", "b", "go", "c", "-1"]);
    let channel = pair.open(1);
    pair.ask(channel, &["ping 192.0.2.1"]);
    assert_eq!(
        pair.words(),
        [
            "more",
            "list",
            "cycle-start",
            "command not accepted: the vantage point of that number has departed"
        ]
    );
}

#[test]
fn commands_that_follow_each_other_are_one_measurement() {
    let mut pair = Pair::new(&[(1, "a")]);
    let channel = pair.open(1);
    pair.words();
    pair.ask(channel, &["ping -c 1 192.0.2.1", "ping -c 1 192.0.2.2", "ping -c 2 192.0.2.1", "ping -c x y"]);
    assert_eq!(pair.measured(), [(1, 2), (2, 1)]);
    assert_eq!(
        pair.words(),
        [
            "ok 1",
            "ok 2",
            "ok 3",
            "command not accepted: could not parse ping command: -c takes a number, not 'x'",
            "more"
        ]
    );
    pair.hear(results(1, &[1, 0], Outcome::Failed));
    pair.hear(FromAnchor::Done { id: 1, ledger: Ledger::default() });
    assert_eq!(
        pair.words(),
        ["ping 2 error no-route: there is none", "ping 1 error no-route: there is none"]
    );
    pair.hear(results(2, &[0], Outcome::Refused));
    assert_eq!(pair.words(), ["ping 3 error refused: no-route: there is none"]);
}

#[test]
fn commands_gather_while_others_like_them_are_on_their_way() {
    let mut pair = Pair::new(&[(1, "a")]);
    let channel = pair.open(1);
    for _ in 0..4 {
        pair.ask(channel, &["ping -c 1 192.0.2.1"]);
    }
    assert_eq!(pair.measured(), [(1, 1), (2, 1), (3, 1), (4, 1)]);
    pair.words();
    // As many as are on their way, and one: more are asked for meanwhile.
    for id in 5..9 {
        pair.ask(channel, &["ping -c 1 192.0.2.1"]);
        assert_eq!(pair.measured(), []);
        assert_eq!(pair.words(), [format!("ok {id}"), "more".into()]);
    }
    pair.ask(channel, &["ping -c 1 192.0.2.1"]);
    assert_eq!(pair.measured(), [(5, 5)]);
    pair.ask(channel, &["ping -c 1 192.0.2.1", "ping -c 1 192.0.2.2"]);
    for id in [1, 2, 3, 4] {
        assert_eq!(pair.measured(), []);
        let answer = accepted(id);
        pair.hear(answer);
    }
    // Nor do they wait when the others are accepted.
    assert_eq!(pair.measured(), []);
    let answer = accepted(5);
    pair.hear(answer);
    assert_eq!(pair.measured(), [(6, 2)]);
    // Another kind of command waits for none of them.
    pair.ask(channel, &["ping -c 2 192.0.2.1"]);
    assert_eq!(pair.measured(), [(7, 1)]);
}

#[test]
fn what_the_limits_of_a_site_hold_back_waits_and_is_asked_for_later() {
    let mut pair = Pair::new(&[(1, "a")]);
    let limits = PolicySummary {
        max_pps: 1_000,
        max_bps: 10_000_000,
        max_pps_per_target: 2,
        allow: Vec::new(),
        deny: Vec::new(),
        deny_kinds: Vec::new(),
        allow_packet_sockets: false,
    };
    let limited = Place { limits: Some(Limits::of(&limits)), ..Place::clone(&place(1, "a")) };
    pair.desk.roster(Arc::new([(1, Arc::new(limited))].into()));
    let channel = pair.open(1);
    pair.ask(channel, &["ping -c 1 192.0.2.1"; 14]);
    assert_eq!(pair.measured(), [(1, 10)], "what leaves within five seconds");
    let answer = accepted(1);
    pair.hear(answer);
    assert_eq!(pair.measured(), []);
    pair.hear(results(1, &[0, 1, 2], Outcome::Ok));
    assert_eq!(pair.measured(), [(2, 3)]);
    pair.ask(channel, &["halt 14"]);
    pair.hear(results(1, &[3], Outcome::Ok));
    assert_eq!(pair.measured(), []);
}

#[test]
fn what_the_anchor_declines_has_a_record_that_says_why() {
    let mut pair = Pair::new(&[(1, "a")]);
    let channel = pair.open(1);
    pair.words();
    pair.ask(channel, &["ping 192.0.2.1", "done"]);
    let problem = Problem::new(503, "full", "Storage is full");
    pair.hear(FromAnchor::Problem { id: Some(1), problem });
    assert_eq!(pair.words(), ["ok 1", "ok ", "more", "ping 1 error Storage is full", "cycle-stop"]);
    assert_eq!(pair.closed, [channel]);
}

#[test]
fn a_task_is_halted_alone_or_with_its_measurement() {
    let mut pair = Pair::new(&[(1, "a")]);
    let channel = pair.open(1);
    pair.ask(channel, &["ping -c 1 192.0.2.1", "ping -c 1 192.0.2.2"]);
    pair.words();
    pair.ask(channel, &["halt 1", "halt 9"]);
    assert_eq!(pair.words(), ["ok halted 1", "ping 1 halted halted", "no task id-9"]);
    pair.desk.questions();
    pair.ask(channel, &["halt 2"]);
    assert_eq!(pair.desk.questions(), []);
    let accepted = accepted(1);
    pair.hear(accepted);
    assert_eq!(pair.desk.questions(), [FromClient::Cancel { id: 2, measurement: msm(1) }]);
    pair.hear(results(1, &[0, 1], Outcome::Cancelled));
    assert_eq!(pair.words(), ["ok halted 2", "ping 2 halted cancelled: no-route: there is none"]);
}

#[test]
fn channels_take_turns_and_nobody_is_read_from_without_end() {
    let mut pair = Pair::new(&[(1, "a"), (2, "b")]);
    let (one, other) = (pair.open(1), pair.open(2));
    let lines: Vec<_> = (1..=MAX_UNACCEPTED + 4).map(|count| format!("ping -c {count} 192.0.2.1")).collect();
    pair.ask(one, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    pair.ask(other, &["ping 192.0.2.1"]);
    assert_eq!(pair.measured().len(), MAX_UNACCEPTED);
    let answer = accepted(1);
    pair.hear(answer);
    let [FromClient::Measure { request, .. }] = &pair.desk.questions()[..] else { panic!() };
    assert_eq!(request.from, Selection::ids([place(2, "b").id.clone()]).ok());
    let lines = "ping -c 1 192.0.2.1\n".repeat(MAX_TASKS);
    pair.mux.send(one, lines.as_bytes());
    pair.desk.receive(NOW, &pair.mux.take()).unwrap();
    assert!(!pair.desk.has_room());
}

#[test]
fn a_client_that_goes_leaves_nothing_under_way() {
    let mut pair = Pair::new(&[(1, "a")]);
    let channel = pair.open(1);
    pair.ask(channel, &["ping -c 1 192.0.2.1", "ping -c 2 192.0.2.1"]);
    pair.desk.questions();
    let answer = accepted(1);
    pair.hear(answer);
    pair.desk.abandon();
    assert_eq!(pair.desk.questions(), [FromClient::Cancel { id: 3, measurement: msm(1) }]);
    assert!(pair.desk.is_unsettled());
    let answer = accepted(2);
    pair.desk.heard(NOW, answer);
    assert_eq!(pair.desk.questions(), [FromClient::Cancel { id: 4, measurement: msm(2) }]);
    assert!(!pair.desk.is_unsettled());
}

#[test]
fn a_plain_socket_begins_as_that_of_a_daemon() {
    let face = Face::Plain { name: "a".into(), attached: false };
    let mut desk = Desk::new(face, roster(&[(1, "a")]), NOW);
    desk.receive(NOW, b"get monitorname\nattach name x\nping -c 1 192.0.2.1\ndone\n").unwrap();
    let said = String::from_utf8(std::mem::take(desk.out())).unwrap();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.starts_with(['`', '"', '\'', 'M', '?', '>', '<', '/', '0', ';', '#']))
        .collect();
    assert_eq!(lines.first(), Some(&"OK monitorname a"), "{said}");
    assert!(lines.contains(&"OK id-1"), "{said}");
    assert!(!desk.has_ended());
    desk.heard(NOW, results(1, &[0], Outcome::Failed));
    assert!(desk.has_ended());
}

fn accepted(id: u64) -> FromAnchor {
    let measurement = Measurement {
        id: msm(id),
        number: id,
        kind: "ping".parse().unwrap(),
        params: Body::null(),
        from: Selection::all(),
        vps: Vec::new(),
        inputs: None,
        first_input: None,
        tenant: "default".parse().unwrap(),
        visibility: Visibility::Private,
        label: None,
        state: MeasurementState::Running,
        accepted_at: Timestamp::from_unix_ns(0),
        done_at: None,
        ledger: Ledger::default(),
        plan: None,
        results: None,
    };
    FromAnchor::Accepted { id, measurement: Box::new(measurement), inputs: None }
}
