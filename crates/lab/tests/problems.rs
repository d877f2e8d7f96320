//! What is said of files that are wrong: where, what, and what would be right.

use mmn_lab::plan::Plan;

/// A plan with one part exchanged.
fn said(part: &str, by: &str) -> String {
    const WORLD: &str = r#"seed = 1
[[router]]
name = "ams.t1"
addr = "198.19.0.1"
[[router]]
name = "nyc.t1"
addr = "198.19.0.2"
[[link]]
a = "ams.t1"
b = "nyc.t1"
delay_ms = 5
[[vp]]
name = "ams1"
addr = "198.18.0.1"
at = "ams.t1"
[[host]]
name = "www"
addr = "198.18.1.1"
at = "nyc.t1"
[[zone]]
name = "lab.test"
records = ["www A 198.18.1.1"]
[[dns]]
host = "www"
zones = ["lab.test"]
[[web]]
host = "www"
[[web.page]]
path = "/"
"#;
    assert!(Plan::parse("w.toml", WORLD).is_ok());
    assert!(WORLD.contains(part));
    Plan::parse("w.toml", &WORLD.replacen(part, by, 1))
        .map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
}

#[test]
fn problems_say_where_and_what() {
    let cases = [
        (
            "b = \"nyc.t1\"",
            "b = \"nyc.t2\"",
            "w.toml:8: [[link]] 1 \"ams.t1\" - \"nyc.t2\": unknown router \"nyc.t2\"; did you mean \"nyc.t1\"?",
        ),
        ("at = \"ams.t1\"", "at = \"sydney\"", "w.toml:12: [[vp]] 1 \"ams1\": unknown router \"sydney\""),
        (
            "delay_ms = 5",
            "",
            "w.toml:8: [[link]] 1 \"ams.t1\" - \"nyc.t1\": how long does it take? give delay_ms, or a city to both routers",
        ),
        (
            "delay_ms = 5",
            "delay_ms = -1",
            "w.toml:8: [[link]] 1 \"ams.t1\" - \"nyc.t1\": delay_ms = -1: 0 to a day",
        ),
        (
            "delay_ms = 5",
            "delay_ms = 5\nab = { loss = 1.5 }",
            "w.toml:8: [[link]] 1 \"ams.t1\" - \"nyc.t1\": loss is a probability from 0 to 1",
        ),
        (
            "delay_ms = 5",
            "delay_ms = 5\nqueue_ms = 5",
            "w.toml:8: [[link]] 1 \"ams.t1\" - \"nyc.t1\": a queue takes mbps; nothing waits without",
        ),
        (
            "198.19.0.2",
            "198.19.0.1",
            "w.toml:5: [[router]] 2 \"nyc.t1\": 198.19.0.1 is the address of ams.t1 already",
        ),
        (
            "name = \"www\"",
            "name = \"ams1\"",
            "w.toml:16: [[host]] 1 \"ams1\": the name \"ams1\" is taken; names are unique among routers, vps and hosts",
        ),
        ("198.18.1.1", "198.18.1.300", "w.toml:18: \"198.18.1.300\" is not an IP address"),
        (
            "www A 198.18.1.1",
            "www B 198.18.1.1",
            "w.toml:20: [[zone]] 1 \"lab.test\": the record \"www B 198.18.1.1\": expected NAME [TTL] TYPE DATA with A, AAAA, NS, CNAME, PTR, MX or TXT",
        ),
        (
            "zones = [\"lab.test\"]",
            "zones = [\"lab.tset\"]",
            "w.toml:23: [[dns]] 1 at \"www\": unknown zone \"lab.tset\"; did you mean \"lab.test\"?",
        ),
        (
            "path = \"/\"",
            "path = \"x\"",
            "w.toml:26: [[web]] 1 at \"www\": the path \"x\" begins with / and has no blanks",
        ),
    ];
    for (part, by, expected) in cases {
        assert!(said(part, by).starts_with(expected), "expected {expected}, found {}", said(part, by));
    }
}

#[test]
fn unknown_keys_are_refused_with_those_that_there_are() {
    let top = said("seed = 1", "sead = 1");
    assert!(top.starts_with("w.toml:1: unknown field `sead`, expected one of `seed`"), "{top}");
    let link = said("delay_ms = 5", "delay = 5");
    assert!(link.contains("unknown field `delay`") && link.starts_with("w.toml:11: "), "{link}");
}

#[test]
fn several_problems_are_told_at_once() {
    let said = said("198.19.0.2\"", "198.19.0.2\"\nttl = 0\nmpls = [9999999]");
    assert_eq!(said.lines().count(), 2, "{said}");
}
