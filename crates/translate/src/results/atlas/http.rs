//! HTTP: one entry for each request, redirects being requests of their own.

use mmn_modules::http::{Body, Hop, Params};
use serde_json::Value;

use super::{About, Object, bare, failure, family, head};
use crate::results::{Untranslated, failed, found};

pub(super) fn result(_params: &Params, about: &About<'_>) -> Result<Value, Untranslated> {
    let mut object = head(None);
    let Some(body) = found::<Body>(about.record)? else {
        let reason = failed(about.record)?;
        object.put("uri", about.target());
        // An entry of the list must have a status code.
        object.set("result", Vec::<Value>::new());
        let error = failure(&mut object, reason);
        if !object.0.contains_key("dnserr") {
            object.set("err", error);
        }
        return Ok(about.tail(object, "http", "HTTPGet", None));
    };
    object.set("uri", body.url.clone());
    object.set("result", body.hops.iter().map(response).collect::<Vec<_>>());
    let source = body.hops.first().and_then(|hop| hop.source);
    Ok(about.tail(object, "http", "HTTPGet", source))
}

fn response(hop: &Hop) -> Value {
    let mut object = Object::default();
    let phases = hop.phases;
    object.set("af", family(hop.address.0));
    object.set("dst_addr", hop.address.to_string());
    object.put("src_addr", hop.source.map(|source| source.to_string()));
    object.set("method", hop.method.clone());
    object.set("ver", hop.version.clone());
    object.set("res", hop.status);
    object.set("rt", bare::millis(phases.total_ns));
    object.put("ttr", phases.resolve_ns.map(bare::millis));
    object.set("ttc", bare::millis(phases.connect_ns));
    object.set("ttfb", bare::millis(phases.first_byte_ns));
    object.put("hsize", head_bytes(hop));
    object.set("bsize", hop.body.bytes);
    Value::Object(object.0)
}

/// The length of the head: what came less the body, where nothing else came.
fn head_bytes(hop: &Hop) -> Option<u64> {
    let alone = hop.version.starts_with("1.")
        && hop.interim.is_empty()
        && hop.trailers.is_empty()
        && !hop.body.truncated
        && !hop.headers.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    if alone { hop.received_bytes.checked_sub(hop.body.bytes) } else { None }
}
