//! The laws of selections, on random trees and random networks.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::ast::{Field, Stratum};
use super::geo::Circle;
use super::*;
use crate::encoding::Encoding;
use crate::vp::Location;

fn vp_id(number: u32) -> VpId {
    VpId::derive("U", &number.to_string())
}

/// A network of vantage points with few distinct values, so that terms meet.
fn any_network() -> impl Strategy<Value = Vec<(VantagePoint, Vec<KindName>)>> {
    let country = prop::option::weighted(0.9, prop::sample::select(vec!["DE", "FR", "KE", "BR", "us"]));
    let city = prop::option::of(prop::sample::select(vec!["New York", "Berlin", "Zürich"]));
    let asn = prop::option::weighted(0.9, 1u32..6);
    let tags = prop::collection::vec(prop::sample::select(vec!["eyeball", "vpn", "Lab"]), 0..3);
    let point = prop::option::of((-90.0..90.0f64, -180.0..180.0f64));
    let address = (any::<bool>(), 0u8..4, any::<u8>()).prop_map(|(four, net, host)| {
        if four { format!("10.{net}.0.{host}") } else { format!("2001:db8:{net}::{host}") }.parse().unwrap()
    });
    let kinds = prop::collection::vec(prop::sample::select(vec!["ping", "trace"]), 0..2);
    let vp = (country, city, asn, tags, point, address, kinds);
    prop::collection::vec(vp, 0..30).prop_map(|vps| {
        vps.into_iter()
            .enumerate()
            .map(|(number, (country, city, asn, tags, point, address, kinds))| {
                let number = u32::try_from(number).unwrap();
                let vp = VantagePoint {
                    id: vp_id(number),
                    name: format!("vp-{number}"),
                    location: Location {
                        country: country.map(str::to_owned),
                        continent: None,
                        city: city.map(str::to_owned),
                        latitude: point.map(|(latitude, _)| latitude),
                        longitude: point.map(|(_, longitude)| longitude),
                    },
                    asn,
                    as_name: None,
                    addresses: vec![address],
                    tags: tags.into_iter().map(str::to_owned).collect(),
                    simulated: false,
                };
                (vp, kinds.into_iter().map(|kind| kind.parse().unwrap()).collect())
            })
            .collect()
    })
}

fn candidates(network: &[(VantagePoint, Vec<KindName>)]) -> Vec<Candidate<'_>> {
    network.iter().map(|(vp, kinds)| Candidate { vp, kinds }).collect()
}

fn any_leaf() -> impl Strategy<Value = Term> {
    let field = |field: Field, values: &'static [&'static str]| {
        prop::sample::select(values.to_vec()).prop_map(move |value| field.term(value).unwrap())
    };
    prop_oneof![
        Just(Term::All),
        prop::sample::select(vec![
            "germany", "EU", "new york", "vpn", "as3", "vp-1", "all", "a:b", "any", "of", "3"
        ])
        .prop_map(|word| Term::Word(word.to_owned())),
        "[\\PC\"\\\\ ]{1,8}".prop_map(Term::Word),
        "[\\PC\"\\\\ ]{1,8}".prop_map(Term::Tag),
        "vp-[0-9]".prop_map(Term::Name),
        field(Field::Country, &["DE", "france", "Kenya", "zz"]),
        field(Field::Continent, &["EU", "africa", "south-america"]),
        field(Field::City, &["new-york", "BERLIN", "zürich"]),
        (0u32..7).prop_map(Term::As),
        field(Field::Prefix, &["10.1.0.0/16", "2001:db8::/33", "0.0.0.0/0", "10.0.0.7"]),
        field(Field::Tag, &["eyeball", "lab", "nobody"]),
        field(Field::Kind, &["ping", "trace"]),
        (0u32..40).prop_map(|number| Term::Id(vp_id(number))),
        (0.001..20_000.0f64, -90.0..=90.0f64, -180.0..=180.0f64)
            .prop_map(|(radius, lat, lon)| Term::Within(Circle::new(radius, lat, lon).unwrap())),
    ]
}

fn any_set(term: impl Strategy<Value = Term> + Clone) -> impl Strategy<Value = Set> {
    prop::collection::vec(any_product(term), 1..4).prop_map(Set::of)
}

fn any_product(term: impl Strategy<Value = Term>) -> impl Strategy<Value = Product> {
    let factor = (prop::bool::weighted(0.25), term).prop_map(|(not, term)| Factor { not, term });
    prop::collection::vec(factor, 1..4).prop_map(Product)
}

fn any_term() -> impl Strategy<Value = Term> + Clone {
    any_leaf()
        .boxed()
        .prop_recursive(3, 24, 4, |inner| any_set(inner).prop_map(|set| Term::Group(Box::new(set))))
}

fn any_chooser() -> impl Strategy<Value = Chooser> {
    let by = prop::sample::subsequence(
        vec![Stratum::As, Stratum::Country, Stratum::Continent, Stratum::City],
        0..=4,
    );
    let sample = (1u32..20, by, prop::option::of(1u32..4), prop::option::of(any::<u64>())).prop_map(
        |(count, by, max, seed)| {
            let max = if by.is_empty() { None } else { max };
            How::Sample(Sample { count, by, max, seed })
        },
    );
    let how = prop_oneof![Just(How::Any), (1u32..9).prop_map(How::Of), sample];
    (how, any_set(any_term())).prop_map(|(how, among)| Chooser { how, among })
}

fn any_selection() -> impl Strategy<Value = Selection> {
    let part = prop_oneof![
        3 => any_product(any_term()).prop_map(Ok),
        1 => any_chooser().prop_map(Err),
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| {
        let mut root = Root { parts: Vec::new(), except: Vec::new() };
        for part in parts {
            match part.map(Product::negation) {
                Ok(Ok(term)) => root.except.push(term),
                Ok(Err(product)) => root.parts.push(Part::Terms(product)),
                Err(chooser) => root.parts.push(Part::Chosen(chooser)),
            }
        }
        Selection::from(root)
    })
}

fn chosen(text: &str, network: &[(VantagePoint, Vec<KindName>)]) -> BTreeSet<VpId> {
    let choice = text.parse::<Selection>().unwrap().choose(&candidates(network), 7);
    choice
        .assignments
        .into_iter()
        .map(|assignment| match assignment {
            Assignment::Vp(id) => id,
            Assignment::Pool(_) => panic!("no pool was asked for"),
        })
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(selection in any_selection()) {
        let text = selection.to_string();
        prop_assert_eq!(text.parse::<Selection>(), Ok(selection), "{}", text);
    }

    #[test]
    fn the_spellings_mean_the_same(selection in any_selection()) {
        let structured = selection.to_structured();
        let back: Selection = serde_json::from_value(structured.clone()).unwrap();
        prop_assert_eq!(&back, &selection, "{}", structured);
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let bytes = encoding.encode(&structured).unwrap();
            prop_assert_eq!(&encoding.decode::<Selection>(&bytes).unwrap(), &selection);
            let bytes = encoding.encode(&selection).unwrap();
            prop_assert_eq!(&encoding.decode::<Selection>(&bytes).unwrap(), &selection);
        }
    }

    #[test]
    fn garbage_is_refused_at_a_character_of_the_text(
        text in prop_oneof![
            "\\PC{0,60}",
            "[a-z0-9:+,!()\"=|. ]{0,40}",
            prop::collection::vec(
                prop::sample::select(vec![
                    "any(", "all(", "3 of (", "sample(4,", "by=as", "max=", "seed=1", "within(", "3km", "4.9", "(", ")",
                    "+", ",", "!", "as1", "tag:", "\"", "prefix:", "x", " ",
                ]),
                0..14,
            ).prop_map(|tokens| tokens.concat()),
        ],
    ) {
        match text.parse::<Selection>() {
            Ok(selection) => prop_assert_eq!(selection.to_string().parse::<Selection>(), Ok(selection)),
            Err(error) => {
                prop_assert!(error.position <= text.chars().count(), "{error:?}");
                let shown = format!("{error} {error:#}");
                prop_assert!(shown.contains(&error.message));
            }
        }
    }

    #[test]
    fn structured_garbage_never_panics(json in "[\\[\\]{}:,\"a-z0-9]{0,60}") {
        let _ = serde_json::from_str::<Selection>(&json);
    }

    #[test]
    fn the_algebra_is_that_of_sets(network in any_network(), a in any_set(any_term()), b in any_set(any_term())) {
        let all: BTreeSet<VpId> = network.iter().map(|(vp, _)| vp.id.clone()).collect();
        let (set_a, set_b) = (chosen(&format!("({a})"), &network), chosen(&format!("({b})"), &network));
        let law = |text: String| chosen(&text, &network);
        prop_assert_eq!(law(format!("({a})+({b})")), &set_a & &set_b);
        prop_assert_eq!(law(format!("({a}), ({b})")), &set_a | &set_b);
        prop_assert_eq!(law(format!("({a}), !({b})")), &set_a - &set_b);
        prop_assert_eq!(law(format!("({a})+!({b})")), &set_a - &set_b);
        prop_assert_eq!(law(format!("!({a})")), &all - &set_a);
        prop_assert_eq!(law(format!("!({a}), !({b})")), &(&all - &set_a) - &set_b);
        prop_assert_eq!(law(format!("(!(!({a})))")), set_a);
    }

    #[test]
    fn a_choice_depends_on_seed_and_members_alone(
        network in any_network(), selection in any_selection(), seed: u64, turn in 0usize..30,
    ) {
        let mut candidates = candidates(&network);
        let choice = selection.choose(&candidates, seed);
        let middle = turn.min(candidates.len());
        candidates.rotate_left(middle);
        candidates.extend_from_within(..candidates.len().min(3));
        prop_assert_eq!(&selection.choose(&candidates, seed), &choice);
        prop_assert!(choice.coverage.chosen <= choice.coverage.matched + choice.assignments.len() as u64);
        prop_assert_eq!(choice.coverage.chosen, choice.assignments.len() as u64);
        prop_assert_eq!(choice.coverage.seed.is_some() || !selection.needs_seed(), true);
    }

    #[test]
    fn samples_are_spread(network in any_network(), seed: u64, count in 1u32..30, max in prop::option::of(1u32..4)) {
        let bound = max.map_or(String::new(), |max| format!("max={max}, "));
        let drawn = chosen(&format!("sample({count}, by=as|country, {bound}seed={seed}, all)"), &network);
        let mut strata = std::collections::BTreeMap::<_, (u32, u32)>::new();
        for (vp, _) in &network {
            let key = (vp.asn, vp.location.country.as_deref().map(str::to_uppercase));
            let (members, taken) = strata.entry(key).or_default();
            *members += 1;
            *taken += u32::from(drawn.contains(&vp.id));
        }
        let most = strata.values().map(|&(_, taken)| taken).max().unwrap_or(0);
        for &(members, taken) in strata.values() {
            prop_assert!(taken <= max.unwrap_or(u32::MAX));
            // Nobody has two more than another that had some left.
            prop_assert!(taken + 1 >= most || taken == members);
        }
        let could: u32 = strata.values().map(|&(members, _)| members.min(max.unwrap_or(u32::MAX))).sum();
        prop_assert_eq!(drawn.len(), could.min(count) as usize);
    }

    #[test]
    fn a_newcomer_displaces_at_most_one(network in any_network(), seed: u64, count in 1u32..30, max in 1u32..4) {
        let Some((_, before)) = network.split_last() else { return Ok(()) };
        for text in [
            format!("sample({count}, seed={seed}, all)"),
            format!("sample({count}, by=as, seed={seed}, all)"),
            format!("sample({count}, by=as|country, max={max}, seed={seed}, all)"),
        ] {
            let (before, after) = (chosen(&text, before), chosen(&text, &network));
            prop_assert!((&before - &after).len() <= 1, "{text}");
            prop_assert!((&after - &before).len() <= 1, "{text}");
        }
    }
}

#[test]
fn a_sample_is_the_same_for_ever() {
    let network: Vec<_> = (0..20)
        .map(|number| VantagePoint {
            id: vp_id(number),
            name: number.to_string(),
            location: Location::default(),
            asn: Some(number / 5),
            as_name: None,
            addresses: Vec::new(),
            tags: Vec::new(),
            simulated: false,
        })
        .collect();
    let candidates: Vec<_> = network.iter().map(|vp| Candidate { vp, kinds: &[] }).collect();
    let names = |text: &str| {
        let choice = text.parse::<Selection>().unwrap().choose(&candidates, 42);
        let mut names: Vec<u32> = network
            .iter()
            .filter(|vp| choice.assignments.contains(&Assignment::Vp(vp.id.clone())))
            .map(|vp| vp.name.parse().unwrap())
            .collect();
        names.sort_unstable();
        names
    };
    // These answers are promised: the same seed chooses the same vantage points in every later version.
    assert_eq!(names("sample(6, by=as, seed=42)"), RECORDED);
    assert_eq!(names("sample(4, seed=42, all)"), names("4 of (all)"));
}

const RECORDED: [u32; 6] = [0, 3, 9, 10, 12, 17];

#[test]
fn errors_point_at_the_character() {
    let cases = [
        ("", 0, "expected a term"),
        ("germany+", 8, "expected a term"),
        ("germany,, france", 8, "expected a term"),
        ("new york", 4, "put quotes around a word with spaces"),
        ("tag:", 4, "expected a value after \"tag:\""),
        ("germany, colour:red", 9, "there is no field \"colour\""),
        ("country:atlantis", 8, "expected a country"),
        ("as:x", 3, "expected the number of an AS"),
        ("prefix:10.0.0.0/64", 7, "expected a prefix"),
        ("zürich+\"oops", 7, "never closed"),
        ("!!x", 1, "another !"),
        ("(a, b", 5, "expected a comma, + or ), found the end"),
        ("a)", 1, "found \")\""),
        ("0 of (a)", 0, "expected a count above 0"),
        ("3 of a", 5, "expected ( after \"of\""),
        ("any(a)+b", 6, "move the + into them"),
        ("b+any(a)", 2, "a choice of some"),
        ("3 of (2 of (a))", 6, "a choice of some"),
        ("sample(4, max=2, all)", 17, "expected by="),
        ("sample(4, by=planet, all)", 13, "expected as, country"),
        ("sample(4, speed=1, all)", 10, "no such option"),
        ("sample(4, seed=1, seed=2, all)", 18, "twice"),
        ("within(300, 1, 2)", 7, "expected a radius"),
        ("within(300km, 91, 2)", 7, "expected a latitude from -90"),
        ("within(300km, 1)", 15, "expected a comma"),
        ("nearby(x)", 0, "there is no nearby(…)"),
        ("a\\b", 1, "between quotes"),
    ];
    for (text, position, message) in cases {
        let error = text.parse::<Selection>().unwrap_err();
        assert_eq!((error.position, true), (position, error.message.contains(message)), "{text}: {error}");
    }
    let error = "germany, colour:red".parse::<Selection>().unwrap_err();
    let shown = format!("{error:#}");
    assert!(shown.ends_with("\n  germany, colour:red\n           ^"), "{shown}");
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels)).parse::<Selection>();
    assert!(deep(ast::MAX_DEPTH).is_ok());
    assert!(deep(ast::MAX_DEPTH + 1).unwrap_err().message.contains("deep"));
    assert!(deep(100_000).is_err());
    let terms = |term: &str, count: usize| vec![term; count].join(",").parse::<Selection>();
    assert!(terms("a", ast::MAX_TERMS / 4).is_ok());
    assert!(terms("a", ast::MAX_TERMS / 4 + 1).is_err());
    assert!(terms("id:abcdefghijklmnop", ast::MAX_TERMS).is_ok());
    assert!(terms("id:abcdefghijklmnop", ast::MAX_TERMS + 1).is_err());
    assert!(Selection::ids(vec![vp_id(1); ast::MAX_TERMS + 1]).is_err());
    assert!(Selection::ids([]).is_err());
    assert!("a".repeat(ast::MAX_WORD + 1).parse::<Selection>().is_err());
    assert!("a".repeat(ast::MAX_TEXT + 1).parse::<Selection>().is_err());

    let mut node = json!({ "tag": "a" });
    for _ in 0..50 {
        node = json!({ "or": [node] });
    }
    assert!(serde_json::from_value::<Selection>(node).unwrap_err().to_string().contains("deep"));
}

#[test]
fn structured_selections_mean_what_they_say() {
    let cases = [
        (json!({ "country": "germany", "tag": ["eyeball", "Lab"] }), "country:DE+(tag:eyeball, tag:Lab)"),
        (
            json!([{ "as": 3320 }, { "asn": "AS680" }, { "not": { "tag": "vpn" } }]),
            "as:3320, as:680, !tag:vpn",
        ),
        (json!({ "of": { "count": 3, "among": { "continent": "AF" } } }), "3 of (continent:AF)"),
        (json!({ "any": "germany, france" }), "any((germany, france))"),
        (json!(["abcdefghijklmnop", "abcdefghijklmno2"]), "id:abcdefghijklmnop, id:abcdefghijklmno2"),
        (
            json!({ "sample": { "count": 40, "by": ["as", "country"], "max": 2, "seed": 42 } }),
            "sample(40, by=as|country, max=2, seed=42, all)",
        ),
        (
            json!({ "within": { "radius_km": 300, "latitude": 52.37, "longitude": 4.9 }, "kind": "trace" }),
            "kind:trace+within(300km, 52.37, 4.9)",
        ),
    ];
    for (structured, text) in cases {
        let selection: Selection = serde_json::from_value(structured).unwrap();
        assert_eq!(selection.to_string(), text);
    }
    for wrong in [
        json!([]),
        json!({}),
        json!({ "colour": "red" }),
        json!({ "country": "atlantis" }),
        json!({ "tag": [] }),
        json!({ "any": { "tag": "a" }, "tag": "b" }),
        json!({ "not": { "any": { "tag": "a" } } }),
        json!({ "of": { "count": 0, "among": "all" } }),
        json!([["abcdefghijklmnop"]]),
        json!(7),
        json!(null),
    ] {
        assert!(serde_json::from_value::<Selection>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn words_match_what_they_can_mean() {
    let vp = VantagePoint {
        id: vp_id(1),
        name: "Lab-7".to_owned(),
        location: Location {
            country: Some("US".to_owned()),
            city: Some("New York".to_owned()),
            ..Location::default()
        },
        asn: Some(3320),
        as_name: None,
        addresses: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        tags: vec!["Home:fibre".to_owned()],
        simulated: false,
    };
    let kinds = ["ping".parse().unwrap()];
    let matches = |text: &str| {
        let choice = text.parse::<Selection>().unwrap().choose(&[Candidate { vp: &vp, kinds: &kinds }], 0);
        !choice.assignments.is_empty()
    };
    for text in [
        "lab-7",
        "us",
        "USA",
        "united-states",
        "\"united states\"",
        "na",
        "north-america",
        "new-york",
        "\"new york\"",
        "AS3320",
        "as:3320",
        "asn:as3320",
        "\"home:fibre\"",
        "tag:home:FIBRE",
        "name:LAB-7",
        "kind:ping",
        "prefix:10.0.0.0/8",
        "prefix:2001:db8::/32",
        "all",
        "ALL",
        "any",
        "all(us)",
        "!tag:vpn",
    ] {
        assert!(matches(text), "{text}");
    }
    for text in [
        "lab",
        "3320",
        "as332",
        "kind:dns",
        "prefix:10.1.0.0/16",
        "name:us",
        "city:us",
        "tag:us",
        "!us",
        "eu",
    ] {
        assert!(!matches(text), "{text}");
    }
}

#[test]
fn coverage_tells_what_was_missed() {
    let vp = |number: u32, country: &str, asn: u32| VantagePoint {
        id: vp_id(number),
        name: format!("vp-{number}"),
        location: Location { country: Some(country.to_owned()), ..Location::default() },
        asn: Some(asn),
        as_name: None,
        addresses: Vec::new(),
        tags: Vec::new(),
        simulated: false,
    };
    let network = [vp(1, "DE", 1), vp(2, "DE", 2), vp(3, "FR", 2), vp(4, "KE", 3)];
    let candidates: Vec<_> = network.iter().map(|vp| Candidate { vp, kinds: &[] }).collect();
    let coverage = |text: &str| text.parse::<Selection>().unwrap().choose(&candidates, 9).coverage;

    let sample = coverage("sample(2, by=as, germany, france, atlantis, !tag:vpn)");
    assert_eq!((sample.matched, sample.chosen, sample.seed), (3, 2, Some(9)));
    assert_eq!((sample.ases.matched, sample.ases.chosen, sample.countries.matched), (2, 2, 2));
    assert_eq!(sample.unmatched, ["atlantis", "tag:vpn"]);

    let pool = coverage("any(germany)");
    assert_eq!((pool.matched, pool.chosen, pool.seed), (2, 1, None));
    assert_eq!((pool.ases.chosen, pool.countries.chosen), (0, 1));
    assert_eq!(coverage("any(atlantis)").chosen, 0);

    // A choice of some adds to what is there already.
    assert_eq!(coverage("vp-1, 2 of (germany, kenya)").chosen, 3);
    assert_eq!(coverage("sample(1, seed=5, all)").seed, Some(5));
}
