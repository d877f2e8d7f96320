//! DNS.

use data_encoding::BASE64;
use mmn_modules::dns::{Body, Data, Message, Params, Text, Transport};
use mmn_schema::outcome::code;
use serde_json::{Value, json};

use super::{About, Object, bare, family, head};
use crate::results::{Untranslated, failed, found};

pub(super) fn result(params: &Params, about: &About<'_>) -> Result<Value, Untranslated> {
    let mut object = head(None);
    let Some(body) = found::<Body>(about.record)? else {
        let reason = failed(about.record)?;
        object.put("dst_name", params.server.as_deref());
        object.set("proto", protocol(params.protocol));
        let word = if reason.code == code::UNRESOLVABLE { "getaddrinfo" } else { "socket" };
        object.set("error", json!({ word: reason.to_string() }));
        return Ok(about.tail(object, "dns", "Tdig", None));
    };
    let source = body.attempts.iter().rev().find_map(|attempt| attempt.source);
    object.put("dst_name", body.server.clone());
    object.set("dst_addr", body.address.to_string());
    object.set("dst_port", body.port.to_string());
    object.put("src_addr", source.map(|source| source.to_string()));
    object.set("af", family(body.address.0));
    object.set("proto", protocol(body.transport));
    object.set("retry", body.attempts.len().saturating_sub(1));
    object.set("qbuf", BASE64.encode(&body.query.0));
    match &body.response {
        Some(message) => object.set("result", answer(&body, message)),
        None => object.set("error", error(params, &body)),
    }
    Ok(about.tail(object, "dns", "Tdig", source))
}

fn protocol(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    }
}

fn answer(body: &Body, message: &Message) -> Value {
    let mut object = Object::default();
    object.put("rt", body.rtt_ns.map(bare::millis));
    object.put("size", body.response_bytes);
    object.put("abuf", body.raw.as_ref().map(|raw| BASE64.encode(&raw.0)));
    object.set("ID", message.id);
    object.set("QDCOUNT", message.question.len());
    object.set("ANCOUNT", message.answer.len());
    object.set("NSCOUNT", message.authority.len());
    // The OPT record is one of them.
    object.set("ARCOUNT", message.additional.len() + usize::from(message.edns.is_some()));
    let answers: Vec<_> = message.answer.iter().filter_map(taken_apart).collect();
    if !answers.is_empty() {
        object.set("answers", answers);
    }
    Value::Object(object.0)
}

/// TXT and SOA alone stand outside of `abuf`.
fn taken_apart(record: &mmn_modules::dns::Record) -> Option<Value> {
    let mut object = Object::default();
    match record.data.as_ref()? {
        Data::Txt(strings) => {
            object.set("TYPE", "TXT");
            object.set("NAME", record.name.clone());
            let text = |string: &Text| match string {
                Text::Text(text) => text.clone(),
                Text::Bytes(bytes) => String::from_utf8_lossy(&bytes.0).into_owned(),
            };
            object.set("RDATA", strings.iter().map(text).collect::<Vec<_>>());
        }
        Data::Soa { mname, rname, serial, .. } => {
            object.set("TYPE", "SOA");
            object.set("NAME", record.name.clone());
            object.set("MNAME", mname.clone());
            object.set("RNAME", rname.clone());
            object.set("SERIAL", *serial);
            object.set("TTL", record.ttl);
        }
        _ => return None,
    }
    Some(Value::Object(object.0))
}

/// Silence says how long it lasted, in milliseconds.
fn error(params: &Params, body: &Body) -> Value {
    match body.attempts.last().and_then(|attempt| attempt.error.as_ref()) {
        Some(reason) if reason.code != code::TIMEOUT => json!({ "socket": reason.to_string() }),
        _ => json!({ "timeout": params.timeout.as_ns() / 1_000_000 }),
    }
}
