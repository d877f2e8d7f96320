//! The pages behind the `type` of problems: what each reason means, and what to do about it. A reason never changes
//! its meaning.

/// Reason, status, what it means, what to do.
const REASONS: &[(&str, u16, &str, &str)] = &[
    (
        "bad-request",
        400,
        "A parameter, a field or the path of the request can't be read.",
        "Mend what the detail names; /openapi.json says what is understood.",
    ),
    (
        "malformed-body",
        400,
        "The body is no JSON, or no CBOR.",
        "The detail says where it stops making sense.",
    ),
    (
        "unauthorized",
        401,
        "The request needs a bearer token (RFC 6750), or its token does not hold: another key signed it, or its time is over.",
        "Send Authorization: Bearer TOKEN. mmn up keeps a token for this machine in creds/client.token; mmn creds new client NAME makes others.",
    ),
    (
        "wrong-origin",
        403,
        "A page of another origin tried to open the WebSocket, or to change something with a browser's session.",
        "Serve the page from the API's own host and port.",
    ),
    (
        "not-found",
        404,
        "There is nothing of that name, or it is not yours to see.",
        "Check the id; what is private is shown to its tenant alone.",
    ),
    (
        "no-public-page",
        404,
        "Without a token nothing is told of how the network is doing: its operator has not made a page of it public.",
        "Sign in. An operator sets public_page in [api] of the anchor's configuration, or starts mmn up --public.",
    ),
    (
        "method-not-allowed",
        405,
        "The path does not take this method.",
        "The Allow field lists those that it takes.",
    ),
    (
        "not-acceptable",
        406,
        "None of the media types in Accept can be given.",
        "Accept application/json, application/x-ndjson or text/event-stream.",
    ),
    (
        "timeout",
        408,
        "The request did not arrive, or could not be answered, in time.",
        "Send it again, under the same Idempotency-Key.",
    ),
    (
        "expired",
        410,
        "What was asked for was kept for a while, and is not any more.",
        "Ask for the measurement itself; it is kept longer than what was measured.",
    ),
    (
        "wrong-state",
        409,
        "The measurement does not allow this any more: it is closed, done or cancelled.",
        "Read it to see what it is doing; begin a new one.",
    ),
    (
        "too-large",
        413,
        "The body is larger than the anchor takes.",
        "Send the inputs in several requests, or append them to an open measurement.",
    ),
    (
        "unsupported-media-type",
        415,
        "The body is neither JSON nor CBOR, or it has a content coding.",
        "Send it with Content-Type: application/json.",
    ),
    (
        "wrong-host",
        421,
        "The request names a host that a listener on loopback does not serve. This keeps web pages from reaching it by DNS rebinding.",
        "Ask for localhost or 127.0.0.1, or name the host in api.hosts.",
    ),
    (
        "invalid-request",
        422,
        "The request is understood and can't be accepted as it is.",
        "Each entry of errors points at a field and says what is wrong with it.",
    ),
    (
        "idempotency-key",
        422,
        "The same Idempotency-Key was used for another request.",
        "Use a new key for a new request.",
    ),
    (
        "over-budget",
        422,
        "The measurement would exceed the budget that it was given.",
        "Raise the budget, or ask for less.",
    ),
    ("upgrade-required", 426, "This path speaks WebSocket.", "Open it with a WebSocket client."),
    (
        "rate-limited",
        429,
        "Too many requests came with this token, or from this address.",
        "Wait as long as Retry-After says; the RateLimit fields tell how much is left.",
    ),
    (
        "saturated",
        429,
        "As many tasks are pending as the anchor takes, or so many of the kind wait at the vantage points chosen that more would wait there until their deadline.",
        "Wait as long as Retry-After says, ask for less, choose other vantage points, or give it a longer deadline.",
    ),
    (
        "credits",
        429,
        "More inputs were appended than the anchor has granted.",
        "Append as many as were granted, and wait for more to be.",
    ),
    (
        "too-many-subscriptions",
        429,
        "The connection carries as many subscriptions or questions as it may.",
        "End some, or open another connection.",
    ),
    ("internal", 500, "The anchor made a mistake.", "Report it, with the detail."),
    (
        "bad-answer",
        502,
        "A vantage point answered with something that can't be read.",
        "See which version it runs: GET /api/v1/modules.",
    ),
    (
        "not-ready",
        503,
        "The anchor can't take work: it connects, recovers, stands by or stops.",
        "Try again in a moment; /readyz tells when it is ready.",
    ),
    (
        "storage-full",
        503,
        "The storage for results, or the ledger, is full. Nothing accepted is forgotten; nothing new is accepted.",
        "Wait until what is kept expires, or let an operator raise what the hint names.",
    ),
    ("storage-unavailable", 503, "JetStream did not answer.", "Try again in a moment."),
    (
        "unanswered",
        504,
        "A vantage point did not answer in time.",
        "See whether it is healthy: GET /api/v1/vps.",
    ),
];

/// The explanation of a reason.
pub(crate) fn page(reason: &str) -> Option<String> {
    let (reason, status, meaning, remedy) = REASONS.iter().find(|(known, ..)| *known == reason)?;
    Some(format!("{reason} (HTTP status {status})\n\n{meaning}\n\n{remedy}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of the crate; every reason that stands in one must be explained.
    fn sources(dir: &std::path::Path, found: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_reason_is_explained() {
        let mut text = String::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
        let needle = "Problem::new(";
        let mut count = 0;
        for (at, _) in text.match_indices(needle) {
            let mut parts = text[at + needle.len()..].splitn(3, ',');
            let (Some(status), Some(reason)) = (parts.next(), parts.next()) else { continue };
            let (Ok(_), Some(reason)) = (
                status.trim().parse::<u16>(),
                reason.trim().strip_prefix('"').and_then(|reason| reason.strip_suffix('"')),
            ) else {
                continue;
            };
            if reason != "x" {
                assert!(page(reason).is_some(), "{reason} is not explained");
                count += 1;
            }
        }
        assert!(count > 10, "the search found only {count} problems");
        assert!(page("").is_none());
    }
}
