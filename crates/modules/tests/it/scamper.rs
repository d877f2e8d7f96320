//! `docs/reference/scamper.md`: every field of ours that it names is there, and of its records it leaves no field out.

use mmn_modules::CATALOGUE;
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/reference/scamper.md");

/// What stands between backquotes.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The schema that a schema stands for: of a reference what it names, of a list its items, of what may be absent the rest.
fn meant<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return root.pointer(name.trim_start_matches('#')).map_or(Vec::new(), |named| meant(root, named));
    }
    if schema.get("items").is_some() {
        return meant(root, &schema["items"]);
    }
    let choices =
        ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten();
    let mut found: Vec<&Value> = choices.flat_map(|choice| meant(root, choice)).collect();
    found.push(schema);
    found
}

fn has(root: &Value, path: &str) -> bool {
    let mut here = vec![root];
    for name in path.split('.') {
        here = here
            .into_iter()
            .flat_map(|schema| meant(root, schema))
            .filter_map(|schema| schema["properties"].get(name))
            .collect();
    }
    !here.is_empty()
}

/// What is named and is not there.
fn missing(page: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let kind = section.lines().next().unwrap();
        let Some(described) = CATALOGUE.iter().find(|described| described.name == kind) else { continue };
        let info = (described.info)();
        let schemas = [("params.", info.params), ("result.", info.result)];
        for span in spans(section) {
            for (prefix, schema) in &schemas {
                let schema = serde_json::to_value(schema).unwrap();
                if span.strip_prefix(prefix).is_some_and(|path| !has(&schema, path)) {
                    missing.push(format!("{kind}: {span}"));
                }
            }
        }
    }
    missing
}

#[test]
fn every_field_that_is_named_is_there() {
    assert_eq!(missing(PAGE), Vec::<String>::new());
    for kind in ["ping", "trace", "multipath", "udp", "dns", "http"] {
        assert!(PAGE.contains(&format!("\n## {kind}\n")), "{kind}");
    }
    // What is not there is found out.
    let wrong = "# x\n\n## ping\n| `params.count` | `params.nothing` | `result.replies.rtt` | `result.replies.rtt_ns` |";
    assert_eq!(missing(wrong), ["ping: params.nothing", "ping: result.replies.rtt"]);
}

#[test]
fn no_field_of_a_record_is_left_out() {
    let mut records = 0;
    for record in PAGE.split("\n### ").skip(1) {
        let record = record.split("\n## ").next().unwrap();
        let rows = record.lines().filter_map(|line| line.strip_prefix("| "));
        let numbers: Vec<usize> =
            rows.filter_map(|row| row.split(' ').next().and_then(|number| number.parse().ok())).collect();
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "{record}");
        assert!(!numbers.is_empty());
        records += 1;
    }
    assert_eq!(records, 26);
}

#[test]
fn every_parameter_of_the_packet_kinds_that_is_its_own_has_a_word_in_the_page() {
    // Those of ours that it has no option for.
    let own = [
        ("ping", &["schedule", "seed", "random_start", "df", "family"][..]),
        ("trace", &["flow", "size", "dont_fragment", "family"][..]),
        (
            "multipath",
            &["branch_points", "max_ttl", "parallel", "size", "dont_fragment", "family", "lane", "source"][..],
        ),
    ];
    for (kind, own) in own {
        let section = PAGE.split("\n## ").find(|section| section.starts_with(&format!("{kind}\n"))).unwrap();
        let described = CATALOGUE.iter().find(|described| described.name == kind).unwrap();
        let schema = serde_json::to_value((described.info)().params).unwrap();
        for name in schema["properties"].as_object().unwrap().keys() {
            let named = spans(section).any(|span| span == format!("params.{name}"));
            assert!(named || own.contains(&name.as_str()), "{kind}: {name} is in no row");
        }
    }
}
