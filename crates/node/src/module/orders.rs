//! The quote: what tasks would cost, and which would be refused. Nothing is sent and no name is resolved.

use std::net::IpAddr;

use mmn_kit::Cost;
use mmn_schema::control::{MAX_QUOTE_INPUTS, Quote, QuoteRefusal};
use mmn_schema::dispatch::Input;
use mmn_schema::id::KindName;
use mmn_schema::outcome::{Reason, code};

use crate::policy::Policy;

/// What tasks of these inputs would cost under `policy`.
pub(super) fn quote(policy: &Policy, kind: &KindName, cost: Cost, inputs: &[Input]) -> Result<Quote, Reason> {
    if !policy.allows_kind(kind) {
        return Err(Reason::with(code::POLICY, format_args!("the site does not offer {kind}")));
    }
    if inputs.len() > MAX_QUOTE_INPUTS {
        let detail = format!("{} inputs, more than {MAX_QUOTE_INPUTS}", inputs.len());
        return Err(Reason::with(code::PARAMETERS, detail));
    }
    let refused: Vec<QuoteRefusal> = (0..)
        .zip(inputs)
        .filter_map(|(input, given)| refusal(policy, given).map(|reason| QuoteRefusal { input, reason }))
        .collect();
    let left = u64::try_from(inputs.len() - refused.len()).unwrap_or(u64::MAX);
    Ok(Quote {
        packets: cost.packets.saturating_mul(left),
        bytes: cost.bytes.saturating_mul(left),
        duration_ns: Some(cost.duration_ns),
        refused,
    })
}

fn refusal(policy: &Policy, input: &Input) -> Option<Reason> {
    let targets: &[String] = match input {
        Input::Target(target) => std::slice::from_ref(target),
        Input::Targets(targets) => targets,
        Input::Nothing | Input::Peer { .. } => &[],
    };
    targets
        .iter()
        .filter_map(|target| literal(target))
        .find_map(|a| policy.judge(a).err())
        .map(|r| r.reason())
}

/// The address that a target names without a resolver: bare, in brackets, with a port, or as the host of a URL.
pub(super) fn literal(target: &str) -> Option<IpAddr> {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split(']').next()?.parse().ok();
    }
    host.parse().ok().or_else(|| host.rsplit_once(':')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_are_found_in_targets() {
        for (target, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1:80", Some("10.0.0.1")),
            ("[::1]:53", Some("::1")),
            ("::1", Some("::1")),
            ("http://user@[fd00::1]:8080/x?y", Some("fd00::1")),
            ("https://10.0.0.1/a:b", Some("10.0.0.1")),
            ("https://example.org/10.0.0.1", None),
            ("example.org:80", None),
        ] {
            assert_eq!(literal(target), expected.map(|text| text.parse().unwrap()), "{target}");
        }
    }

    #[test]
    fn a_quote_leaves_out_what_is_refused() {
        let cost = Cost { packets: 3, bytes: 252, duration_ns: 7 };
        let inputs = ["1.1.1.1", "10.0.0.1", "example.org"].map(|text| Input::Target(text.to_owned()));
        let quote = quote(&Policy::default(), &"ping".parse().unwrap(), cost, &inputs).unwrap();
        assert_eq!((quote.packets, quote.bytes, quote.duration_ns), (6, 504, Some(7)));
        assert_eq!(quote.refused.len(), 1);
        assert_eq!((quote.refused[0].input, &*quote.refused[0].reason.code), (1, code::POLICY));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(target in "\\PC{0,60}") {
            let _ = literal(&target);
        }
    }
}
