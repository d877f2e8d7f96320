use mmn_schema::time::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;

/// Parameters of every form.
#[derive(JsonSchema, Deserialize)]
#[expect(dead_code, reason = "its schema is what is tested")]
struct Params {
    /// How many packets.
    ///
    /// More than this is not said in one line.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 100))]
    count: u16,
    /// The pause between two.
    #[serde(default = "second")]
    interval: Span,
    /// Which addresses.
    #[serde(default)]
    family: Family,
    /// Over a connection.
    #[serde(default)]
    tcp: bool,
    /// Ask whom.
    server: Option<String>,
    /// Which flags.
    #[serde(default)]
    flags: Vec<Family>,
    /// The extension.
    edns: Option<Edns>,
    text: String,
    /// A ratio.
    share: Option<f64>,
    /// Either.
    either: Option<Either>,
}

#[derive(JsonSchema, Deserialize)]
#[expect(dead_code, reason = "its schema is what is tested")]
struct Edns {
    /// The size.
    udp_size: Option<u16>,
    /// DNSSEC OK.
    #[serde(default)]
    dnssec_ok: bool,
}

#[derive(JsonSchema, Deserialize, serde::Serialize, Default)]
#[serde(rename_all = "lowercase")]
enum Family {
    /// Any.
    #[default]
    Any,
    /// IPv4.
    Ipv4,
}

#[derive(JsonSchema, Deserialize)]
#[expect(dead_code, reason = "its schema is what is tested")]
enum Either {
    Address(String),
    Port { number: u16 },
}

const fn four() -> u16 {
    4
}
const fn second() -> Span {
    Span::from_millis(1000)
}

fn params() -> Vec<Param> {
    of_schema(schemars::schema_for!(Params).as_value())
}

fn parsed(args: &[&str]) -> Result<Value, String> {
    let params = params();
    let command = clap::Command::new("kind")
        .args(params.iter().map(|param| param.arg(&["text".to_owned()], None)))
        .try_get_matches_from(std::iter::once(&"kind").chain(args))
        .map_err(|error| error.to_string())?;
    let mut object = BTreeMap::new();
    for param in &params {
        if let Some(value) = param.given_in(&command)? {
            place(&mut object, &param.path, value);
        }
    }
    Ok(serde_json::to_value(object).unwrap())
}

#[test]
fn schemas_become_arguments() {
    let mut command = clap::Command::new("kind")
        .disable_help_flag(true)
        .term_width(100)
        .args(params().iter().map(|param| param.arg(&["text".to_owned()], None)));
    insta::assert_snapshot!(command.render_help());
}

#[test]
fn every_parameter_of_every_kind_has_its_flag() {
    for kind in mmn_modules::KINDS {
        let schema = kind.info().params;
        let params = of_schema(schema.as_value());
        for name in schema.as_value()["properties"].as_object().unwrap().keys() {
            assert!(params.iter().any(|param| param.path.first() == Some(name)), "{} {name}", kind.name());
        }
        // And each is told apart from the others.
        let mut flags: Vec<String> = params.iter().map(Param::flag).collect();
        flags.sort();
        flags.dedup();
        assert_eq!(flags.len(), params.len(), "{}", kind.name());
    }
}

#[test]
fn arguments_become_parameters() {
    let value = parsed(&[
        "--count",
        "7",
        "--interval",
        "200ms",
        "--family",
        "ipv4",
        "--tcp",
        "--edns.udp-size",
        "1232",
        "--edns.dnssec-ok=false",
        "--flags",
        "any,ipv4",
        "--flags",
        "any",
        "--param.text",
        "x",
        "--share",
        "-0.5",
        "--either",
        r#"{"Port":{"number":53}}"#,
    ]);
    assert_eq!(
        value.unwrap(),
        json!({
            "count": 7, "interval": "200ms", "family": "ipv4", "tcp": true,
            "edns": { "udp_size": 1232, "dnssec_ok": false }, "flags": ["any", "ipv4", "any"], "text": "x",
            "share": -0.5, "either": { "Port": { "number": 53 } },
        })
    );
    assert_eq!(parsed(&[]).unwrap(), json!({}));
}

#[test]
fn wrong_values_are_named() {
    for (args, needle) in [
        (&["--count", "0"][..], "--count: 0 is not within 1 to 100"),
        (&["--count", "many"], "not a whole number"),
        (&["--interval", "5"], "is not a duration"),
        (&["--family", "ipx"], "possible values: any, ipv4"),
        (&["--flags", "any,ipx"], "not one of any, ipv4"),
        (&["--edns.udp-size", "70000"], "not within 0 to 65535"),
        (&["--either", "{"], "not valid JSON"),
        (&["--tcp=maybe"], "invalid value"),
        (&["--share", "inf"], "not finite"),
    ] {
        let error = parsed(args).unwrap_err();
        assert!(error.contains(needle), "{args:?}: {error}");
    }
}

#[test]
fn circles_end() {
    let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } });
    assert_eq!(of_schema(&schema), []);
    let schema = json!({
        "properties": { "next": { "$ref": "#" }, "n": { "type": "integer" } },
    });
    let names: Vec<_> = of_schema(&schema).iter().map(Param::name).collect();
    assert_eq!(names, ["next.next.next", "next.next.n", "next.n", "n"]);
}
