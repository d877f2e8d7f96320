//! Whatever a kind may say, each form says it and reads it again.

use mmn_schema::id::KindName;
use mmn_translate::results::rows::{Cell, Rows, Type, Which, csv};
use mmn_translate::results::{Untranslated, atlas, warts};
use mmn_warts::Record;
use proptest::prelude::*;
use serde_json::json;

use crate::drawn::{measurement, record, result};

const KINDS: [&str; 7] = ["ping", "trace", "multipath", "udp", "tcp", "dns", "http"];

fn no_place(why: &Untranslated) -> bool {
    matches!(why, Untranslated::Kind { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn records_of_warts_are_read_again_as_they_were(kind in prop::sample::select(&KINDS[..]), seed: u64) {
        let (asked, record) = result(kind, seed);
        match warts::records(&asked, &record) {
            Ok(records) => {
                for record in records {
                    let octets = record.to_octets().unwrap();
                    prop_assert_eq!(Record::from_octets(&octets).unwrap(), record);
                }
            }
            Err(Untranslated::TooMany { .. }) => prop_assert!(kind == "udp"),
            Err(why) => prop_assert!(kind == "tcp" && no_place(&why), "{why}"),
        }
    }

    #[test]
    fn atlas_has_what_every_result_has(kind in prop::sample::select(&KINDS[..]), seed: u64) {
        let (asked, record) = result(kind, seed);
        match atlas::result(&asked, &measurement(kind), None, &record) {
            Ok(result) => {
                for key in ["fw", "lts", "msm_id", "prb_id", "timestamp", "msm_name", "type"] {
                    prop_assert!(!result[key].is_null(), "{key}");
                }
                prop_assert_eq!(&result["msm_id"], &json!(1_000_042));
            }
            Err(why) => prop_assert!(no_place(&why) && atlas::serves(&asked).is_err()),
        }
    }

    #[test]
    fn rows_have_a_cell_for_each_column(kind in prop::sample::select(&KINDS[..]), seed: u64) {
        let (asked, record) = result(kind, seed);
        let name: KindName = kind.parse().unwrap();
        let known = mmn_modules::CATALOGUE.iter().find(|known| known.name == kind).unwrap();
        for which in [Which::Results, Which::Replies] {
            let rows = match Rows::new(which, &name, &(known.info)().summary) {
                Ok(rows) => rows,
                Err(why) => {
                    prop_assert!(no_place(&why));
                    prop_assert_eq!(which, Which::Replies);
                    continue;
                }
            };
            for row in rows.of(None, &record).unwrap() {
                prop_assert_eq!(row.len(), rows.columns().len());
                for (cell, column) in row.iter().zip(rows.columns()) {
                    let kind = match cell {
                        Cell::Absent => column.kind,
                        Cell::Text(_) => Type::Text,
                        Cell::Integer(_) => Type::Integer,
                        Cell::Real(_) => Type::Real,
                        Cell::Flag(_) => Type::Flag,
                        Cell::Instant(_) => Type::Instant,
                    };
                    prop_assert_eq!(kind, column.kind, "{}", column.name);
                }
                let mut line = String::new();
                csv::row(&row, &mut line);
                prop_assert!(line.ends_with("\r\n"));
            }
        }
        prop_assert_eq!(asked.kind(), kind);
    }
}

#[test]
fn columns_are_named_once() {
    for kind in KINDS {
        let known = mmn_modules::CATALOGUE.iter().find(|known| known.name == kind).unwrap();
        for which in [Which::Results, Which::Replies] {
            let Ok(rows) = Rows::new(which, &kind.parse().unwrap(), &(known.info)().summary) else {
                continue;
            };
            let mut names: Vec<_> = rows.columns().iter().map(|column| &column.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), rows.columns().len(), "{kind}");
        }
    }
}

#[test]
fn what_was_never_measured_has_a_place_in_rows_alone() {
    let lost = record("ping", &json!({ "outcome": "lost", "reason": { "code": "deadline" }, "vp": null }));
    let kind = "ping".parse().unwrap();
    let asked = mmn_translate::results::Asked::of(&kind, &mmn_schema::body::Body::null()).unwrap();
    assert!(matches!(warts::records(&asked, &lost), Err(Untranslated::Nothing(_))));
    assert!(matches!(
        atlas::result(&asked, &measurement("ping"), None, &lost),
        Err(Untranslated::Nothing(_))
    ));
    let rows = Rows::new(Which::Results, &kind, &[]).unwrap();
    let row = rows.of(None, &lost).unwrap().pop().unwrap();
    let cell =
        |name: &str| row[rows.columns().iter().position(|column| column.name == name).unwrap()].clone();
    assert_eq!(cell("outcome"), Cell::Text("lost".to_owned()));
    assert_eq!(cell("reason"), Cell::Text("deadline".to_owned()));
    assert_eq!(cell("vp"), Cell::Absent);
}

#[test]
fn what_is_simulated_says_so() {
    let simulated = record("ping", &json!({ "simulated": true }));
    let (name, about) = warts::list(&measurement("ping"), &simulated);
    assert_eq!(name.to_str(), "0".repeat(26));
    let descr = about.descr.unwrap();
    assert_eq!(descr.to_str(), format!("simulated: mmn ping of measurement {}: weekly", "0".repeat(26)));
    assert_eq!(about.monitor.unwrap().to_str(), "laptop");
    let (_, about) = warts::list(&measurement("ping"), &record("ping", &json!({})));
    assert!(!about.descr.unwrap().to_str().contains("simulated"));
}
