//! The machine as a whole: what it shows of which news, and that no key, size or text breaks it.

use std::time::Duration;

use mmn_client::Metrics;
use mmn_schema::api::{Ledger, Measurement, ModuleView, ResultRecord, VpView};
use mmn_schema::id::{MeasurementId, VpId};
use mmn_schema::time::Timestamp;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use serde_json::{Value, json};

use super::app::App;
use super::keys::Key;
use super::news::{Followed, Link, Look, News};
use crate::style::Style;

/// 2026-11-22T12:00:00Z.
const NOW_S: i64 = 1_795_348_800;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_ns((NOW_S + seconds) * 1_000_000_000)
}

fn msm() -> MeasurementId {
    MeasurementId::new(1_795_348_000_000, &[3; 10])
}

/// The first that is opened.
fn first() -> Followed {
    Followed { measurement: msm(), opening: 1 }
}

fn metrics(ok: u64, pending: u64) -> News {
    let page = format!(
        "mmn_vantage_points{{health=\"healthy\"}} 9998\nmmn_vantage_points{{health=\"suspect\"}} 1\n\
         mmn_vantage_points{{health=\"lost\"}} 1\nmmn_instances{{health=\"healthy\"}} 30000\n\
         mmn_instances{{health=\"starting\"}} 2\nmmn_tasks_ended_total{{outcome=\"ok\",reason=\"\"}} {ok}\n\
         mmn_tasks_ended_total{{outcome=\"refused\",reason=\"policy\"}} 12\n\
         mmn_tasks_ended_total{{outcome=\"lost\",reason=\"deadline\"}} 3\nmmn_tasks_pending {pending}\n\
         mmn_breakers{{of=\"kind\",state=\"open\"}} 1\nmmn_breakers{{of=\"kind\",state=\"half-open\"}} 0\n\
         mmn_measurements_open 2\nmmn_kind_tasks_pending{{kind=\"ping\"}} {pending}\n\
         mmn_kind_tasks_ended_total{{kind=\"ping\"}} {ok}\nmmn_kind_tasks_ended_total{{kind=\"dns\"}} 4\n",
    );
    News::Figures(Metrics::of(page), Duration::from_secs(ok / 1000))
}

fn event(kind: &str, text: &str, seconds: i64) -> News {
    let event = json!({ "at": at(seconds), "type": kind, "text": text });
    News::Event(serde_json::from_value(event).unwrap(), 0)
}

fn vp(index: usize) -> VpView {
    let place = [("Berlin", "DE"), ("Paris", "FR"), ("Osaka", "JP")][index % 3];
    let health = if index == 7 { "lost" } else { "healthy" };
    let name = format!("{}-{index:05}", place.0.to_lowercase());
    serde_json::from_value(json!({
        "vantage_point": {
            "id": VpId::derive("U", &name), "name": name, "location": { "city": place.0, "country": place.1 },
            "asn": 64_500 + index % 4, "tags": if index % 2 == 0 { json!(["eyeball"]) } else { json!([]) },
            "simulated": index == 1,
        },
        "health": health, "kinds": ["dns", "http", "ping", "trace"],
        "unavailable": [{ "kind": "multipath", "reason": { "code": "no-privilege" } }],
        "modules": [], "last_seen_at": at(-1 - i64::try_from(index % 3).unwrap()),
    }))
    .unwrap()
}

fn module(index: usize, health: &str, evidence: &str) -> ModuleView {
    serde_json::from_value(json!({
        "instance": format!("packet-{index:06}"), "boot": 1, "module": "packet", "version": "0.1.0",
        "vp": VpId::derive("U", "berlin"), "vp_name": format!("berlin-{index}"), "kinds": ["ping", "trace"],
        "health": health, "since": at(-3700), "evidence": evidence, "credits": 80, "out": index,
        "circuits": if health == "suspect" { json!([{ "kind": "ping", "state": "open" }]) } else { json!([]) },
        "last_seen_at": at(-1),
        "heartbeat": {
            "boot": 1, "seq": 7, "sent_at": at(-1), "interval_ms": 500, "state": "ready",
            "load": {
                "running": 3, "queued": 1, "free": 8, "done": 100_234, "refused": 0, "garbage": 0,
                "rss_bytes": 33_067_008,
            },
        },
    }))
    .unwrap()
}

fn ledger(ok: u64, pending: u64) -> Ledger {
    serde_json::from_value(json!({
        "accepted": ok + pending + 1, "ok": ok, "failed": 0, "refused": 1, "lost": 0, "cancelled": 0,
        "pending": pending, "reasons": { "refused": { "policy": 1 } }, "answered": ok,
    }))
    .unwrap()
}

fn measurement(state: &str, ok: u64, pending: u64) -> Measurement {
    let mut measurement = json!({
        "id": msm(), "number": 42, "kind": "ping", "params": {}, "from": "germany+eyeball",
        "vps": [VpId::derive("U", "a"), VpId::derive("U", "b")], "tenant": "default", "visibility": "public",
        "label": "nightly", "state": state, "accepted_at": at(-90), "ledger": ledger(ok, pending),
    });
    if pending == 0 {
        measurement["done_at"] = json!(at(-80));
    }
    serde_json::from_value(measurement).unwrap()
}

fn record(index: u64, answered: bool) -> ResultRecord {
    let rtt_ns = 10_000_000 + (index * 7 % 5) * 1_000_000;
    let replies: Vec<_> = (0..5_u64)
        .map(|seq| {
            let status = if answered && seq != 3 { "replied" } else { "timed_out" };
            let mut reply = json!({ "seq": seq, "status": status });
            if status == "replied" {
                reply["rtt_ns"] = json!(rtt_ns + seq * 200_000);
            }
            reply
        })
        .collect();
    let received = if answered { 4 } else { 0 };
    let mut record = json!({
        "cursor": format!("{}.0", index + 1), "task": format!("{}-{index}", msm()), "kind": "ping",
        "vp": VpId::derive("U", "a"), "vp_name": "berlin", "input": format!("192.0.2.{index}"), "attempt": 0,
        "final": true, "outcome": "ok", "answered": answered, "started_at": at(-85), "duration_ns": 40_000_000,
        "summary": { "sent": 5, "received": received }, "simulated": index == 0,
        "body": {
            "target": "x", "address": "192.0.2.1", "family": "ipv4", "sent": 5, "received": received, "duplicates": 0,
            "late": 0, "errors": 0, "loss": if answered { 0.2 } else { 1.0 }, "replies": replies,
        },
    });
    if answered {
        record["summary"]["rtt_median_ns"] = json!(rtt_ns);
        record["body"]["rtt"] = json!({
            "min_ns": rtt_ns, "median_ns": rtt_ns, "mean_ns": rtt_ns, "max_ns": rtt_ns + 800_000, "stddev_ns": 1,
        });
    }
    serde_json::from_value(record).unwrap()
}

fn refused(index: u64) -> ResultRecord {
    let refused =
        json!({ "outcome": "refused", "reason": { "code": "policy", "detail": "10.0.0.0/8 is private" } });
    let mut record = serde_json::to_value(record(index, false)).unwrap();
    for (name, value) in refused.as_object().unwrap() {
        record[name] = value.clone();
    }
    record["body"] = Value::Null;
    serde_json::from_value(record).unwrap()
}

fn fields() -> Vec<mmn_schema::announce::SummaryField> {
    crate::kinds::summary("ping")
}

/// One that has been told what there is.
fn told() -> App {
    let mut app = App::new(at(0));
    app.news(News::Link(Link::Live));
    for (ok, pending) in [(1000, 40), (3000, 30), (9000, 20), (14_000, 25)] {
        app.news(metrics(ok, pending));
    }
    app.news(event("vp-joined", "berlin-00000 joined", -30));
    app.news(event("module-lost", "packet-000003 at berlin-3 is lost: its process ended", -20));
    app.news(event("breaker-open", "the circuit of ping at berlin-3 is open", -10));
    app.news(News::Vps((0..30).map(vp).collect()));
    app.news(News::Modules(vec![
        module(1, "healthy", "heard 447 ms ago"),
        module(2, "suspect", "not heard of for 2294 ms, 1500 ms are borne"),
        module(3, "lost", "nobody listens on its subject"),
    ]));
    app.news(News::Measurements(vec![measurement("running", 7, 3), measurement("done", 9, 0)]));
    app
}

fn press(app: &mut App, keys: &str) {
    for char in keys.chars() {
        let key = match char {
            '\n' => Key::Enter,
            '\u{1b}' => Key::Esc,
            '\t' => Key::Tab,
            other => Key::Char(other),
        };
        app.key(&key);
    }
}

fn shown(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| assert!(app.draw(frame.buffer_mut(), Style::plain()).is_none_or(|(x, _)| x < width)))
        .unwrap();
    terminal.backend().to_string()
}

/// One that looks at a measurement.
fn at_measurement(state: &str, pending: u64) -> App {
    let mut app = told();
    app.open_measurement(msm());
    app.news(News::Measurement(Box::new(measurement(state, 7, pending)), fields()));
    let records = (0..6).map(|index| record(index, index != 4)).chain([refused(6)]).collect();
    app.news(News::Records(first(), records));
    app
}

#[test]
fn the_network_at_a_glance() {
    let mut app = told();
    insta::assert_snapshot!("overview_120x24", shown(&mut app, 120, 24));
    insta::assert_snapshot!("overview_80x24", shown(&mut app, 80, 24));
    insta::assert_snapshot!("overview_40x10", shown(&mut app, 40, 10));
    insta::assert_snapshot!("overview_of_nothing", shown(&mut App::new(at(0)), 80, 12));
}

#[test]
fn vantage_points_are_filtered_while_one_types() {
    let mut app = told();
    press(&mut app, "2");
    insta::assert_snapshot!("vps_100x12", shown(&mut app, 100, 12));
    press(&mut app, "/germany+eyeball, !as64502");
    insta::assert_snapshot!("vps_selected", shown(&mut app, 80, 10));
    press(&mut app, "\u{1b}/germany++");
    insta::assert_snapshot!("vps_wrong_selection", shown(&mut app, 80, 8));
    press(&mut app, "\u{1b}/aka-0000");
    insta::assert_snapshot!("vps_by_part_of_name", shown(&mut app, 60, 8));
    press(&mut app, "\u{1b}s");
    let lost = shown(&mut app, 80, 6);
    assert!(lost.lines().nth(3).unwrap().contains("✕ lost"), "{lost}");
}

#[test]
fn ten_thousand_are_no_more_to_draw_than_one_screen() {
    let mut app = told();
    app.news(News::Vps((0..10_000).map(vp).collect()));
    press(&mut app, "2G");
    let text = shown(&mut app, 80, 24);
    assert!(text.contains("10,000") && text.contains("paris-09997"), "{text}");
    press(&mut app, "/japan+eyeball");
    assert!(shown(&mut app, 80, 24).contains("1,667 of 10,000"));
    // What was looked at is still looked at when the list is read again.
    press(&mut app, "\njjj");
    let before = shown(&mut app, 80, 24);
    app.news(News::Vps((0..10_000).rev().map(vp).collect()));
    assert_eq!(shown(&mut app, 80, 24), before);
    press(&mut app, "\n");
    let chosen = (0..).map(|n| n * 6 + 2).nth(3).unwrap();
    assert_eq!(app.wants().look, Look::Vp(vp(chosen).vantage_point.id));
    app.news(News::Vp(Box::new(vp(chosen))));
    insta::assert_snapshot!("vp_60x14", shown(&mut app, 60, 14));
}

#[test]
fn modules_say_how_they_are_and_why() {
    let mut app = told();
    press(&mut app, "3s");
    insta::assert_snapshot!("modules_140x8", shown(&mut app, 140, 8));
    insta::assert_snapshot!("modules_60x8", shown(&mut app, 60, 8));
    press(&mut app, "/suspect\n\n");
    insta::assert_snapshot!("module_70x22", shown(&mut app, 70, 22));
    app.news(News::Modules(Vec::new()));
    assert!(shown(&mut app, 70, 22).contains("the anchor knows of it no more"));
}

#[test]
fn measurements_and_their_results() {
    let mut app = told();
    press(&mut app, "4");
    insta::assert_snapshot!("measurements_110x8", shown(&mut app, 110, 8));
    press(&mut app, "\n");
    assert_eq!(app.wants().follow, Some(first()));
    press(&mut app, "\u{1b}\n");
    assert_eq!(app.wants().follow, Some(Followed { opening: 2, ..first() }));
    let mut app = at_measurement("running", 3);
    insta::assert_snapshot!("measurement_110x20", shown(&mut app, 110, 20));
    insta::assert_snapshot!("measurement_40x10", shown(&mut app, 40, 10));
    press(&mut app, "j");
    insta::assert_snapshot!("measurement_80x20", shown(&mut app, 80, 20));
    // Who looks at a result goes on looking at it when more come.
    press(&mut app, "\n");
    let page = shown(&mut app, 80, 30);
    insta::assert_snapshot!("result_80x30", page);
    app.news(News::Records(first(), vec![record(7, true)]));
    assert_eq!(shown(&mut app, 80, 30), page);
    press(&mut app, "\u{1b}\n");
    assert_eq!(shown(&mut app, 80, 30), page);
    // What lies below another page goes on.
    press(&mut app, "v");
    assert_eq!(app.wants().look, Look::Vp(VpId::derive("U", "a")));
    assert_eq!(app.wants().follow, Some(first()));
    app.news(News::Records(first(), vec![record(8, true)]));
    press(&mut app, "\u{1b}\u{1b}");
    assert!(shown(&mut app, 80, 30).contains("9 results"), "{}", shown(&mut app, 80, 30));
}

#[test]
fn it_says_when_it_is_behind_cut_off_or_complete() {
    let mut app = at_measurement("running", 3);
    let corner = |app: &mut App| shown(app, 90, 20).lines().next().unwrap().to_owned();
    assert!(corner(&mut app).contains("● live"));
    app.news(News::Behind(first()));
    assert!(corner(&mut app).contains("▲ behind"));
    app.news(News::Link(Link::CutOff(at(-12))));
    app.news(News::Failed("no connection to http://127.0.0.1:1".into()));
    insta::assert_snapshot!("cut_off_80x20", shown(&mut app, 80, 20));
    app.news(News::Link(Link::Live));
    app.news(News::Complete(first(), ledger(10, 0)));
    app.news(News::Measurement(Box::new(measurement("done", 10, 0)), fields()));
    let text = shown(&mut app, 90, 20);
    assert!(corner(&mut app).contains("■ complete") && !text.contains("no connection"), "{text}");
    assert_eq!(app.wants().look, Look::Measurement(msm(), true));
    // News of what is no longer looked at change nothing.
    press(&mut app, "\u{1b}");
    app.news(News::Records(first(), vec![record(9, true)]));
    press(&mut app, "1");
    let text = shown(&mut app, 150, 24);
    assert!(text.contains("cut off from the API") && text.contains("was not told"), "{text}");
}

#[test]
fn every_page_is_explained_and_left() {
    let mut app = told();
    press(&mut app, "?");
    insta::assert_snapshot!("help_80x40", shown(&mut app, 80, 40));
    press(&mut app, "q");
    assert!(!app.is_over());
    press(&mut app, "/q");
    assert!(app.is_over());
    let mut app = told();
    press(&mut app, "2/q\u{8}");
    assert!(!app.is_over(), "a letter of a filter ends nothing");
    app.key(&Key::Break);
    assert!(app.is_over());
}

#[test]
fn events_make_what_shows_be_read_again() {
    let mut app = told();
    press(&mut app, "2");
    let fresh = app.wants().fresh;
    app.news(event("measurement-done", "x", 0));
    assert_eq!(app.wants().fresh, fresh);
    app.news(event("vp-lost", "x", 0));
    assert_eq!(app.wants().fresh, fresh + 1);
    app.news(News::Link(Link::CutOff(at(0))));
    app.news(News::Link(Link::Live));
    assert_eq!(app.wants().fresh, fresh + 2);
}

#[test]
fn without_colours_there_is_none_and_nothing_is_lost() {
    let draw = |style| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 100, 20));
        at_measurement("running", 3).draw(&mut buffer, style);
        buffer
    };
    let plain = draw(Style::plain());
    assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let painted = draw(Style::painted());
    assert!(painted.content().iter().any(|cell| cell.fg != Color::Reset));
    let symbols =
        |buffer: &Buffer| buffer.content().iter().map(|cell| cell.symbol().to_owned()).collect::<Vec<_>>();
    assert_eq!(symbols(&plain), symbols(&painted));
}

#[test]
fn what_strangers_wrote_plays_no_tricks() {
    let mut app = told();
    app.news(event("vp-joined\u{1b}[2J", "\u{1b}]0;owned\u{7} 日本語 \u{202e}x", 0));
    let mut view = vp(0);
    view.vantage_point.name = "a\u{1b}[31m\n\u{9b}b".into();
    app.news(News::Vps(vec![view]));
    for page in ["1", "2", "2\n"] {
        press(&mut app, page);
        let text = shown(&mut app, 120, 24);
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
    }
}

fn some_key() -> impl Strategy<Value = Key> {
    let char = prop_oneof![4 => proptest::sample::select(b"1234hjklgGqrs/?v+,! ".to_vec()), 1 => any::<u8>()];
    prop_oneof![
        8 => char.prop_map(|byte| Key::Char(byte.into())),
        8 => proptest::sample::select(vec![
            Key::Up, Key::Down, Key::Left, Key::Right, Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Enter,
            Key::Esc, Key::Tab, Key::BackTab, Key::Backspace, Key::Wipe,
        ]),
        1 => ".{0,40}".prop_map(Key::Text),
    ]
}

/// A step of somebody who looks, or of the network.
#[derive(Debug, Clone)]
enum Step {
    Key(Key),
    Size(u16, u16),
    News(u8),
}

fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => some_key().prop_map(Step::Key),
        2 => (0_u16..180, 0_u16..60).prop_map(|(width, height)| Step::Size(width, height)),
        2 => any::<u8>().prop_map(Step::News),
    ]
}

fn some_news(which: u8) -> News {
    let count = usize::from(which / 12);
    match which % 12 {
        0 => News::Link(Link::Live),
        1 => News::Link(Link::CutOff(at(count.try_into().unwrap()))),
        2 => event("module-lost", "gone", 0),
        3 => metrics(which.into(), count as u64),
        4 => News::Vps((0..count).map(vp).collect()),
        5 => News::Modules((0..count).map(|at| module(at, "suspect", "silent")).collect()),
        6 => News::Measurements((0..count).map(|_| measurement("open", 1, 2)).collect()),
        7 => News::Vp(Box::new(vp(count))),
        8 => News::Measurement(Box::new(measurement("running", 2, 1)), fields()),
        9 => News::Records(first(), (0..count as u64).map(|at| record(at, at % 3 > 0)).collect()),
        10 => News::Complete(first(), ledger(3, 0)),
        _ => News::Failed("no connection".into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_key_size_or_news_breaks_it(steps in proptest::collection::vec(some_step(), 0..80)) {
        let mut app = told();
        let (mut width, mut height) = (80, 24);
        for step in steps {
            match step {
                Step::Key(key) => app.key(&key),
                Step::Size(new_width, new_height) => (width, height) = (new_width, new_height),
                Step::News(which) => app.news(some_news(which)),
            }
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            if let Some((x, y)) = app.draw(&mut buffer, Style::painted()) {
                prop_assert!(x < width && y < height);
            }
            let _ = app.wants();
        }
    }
}
