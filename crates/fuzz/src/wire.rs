//! The messages of the contract, in both encodings: the first byte of the input picks one.

use std::fmt::Display;
use std::str::FromStr;

use mmn_schema::encoding::Encoding;
use mmn_schema::select::Selection;
use mmn_schema::subject::{Prefix, Subject};
use mmn_schema::time::{Span, Timestamp};
use mmn_schema::{announce, api, body, control, dispatch, enrol, event, id, problem, rest, status, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be read can be written, and then reads as the same value again.
fn round_trip<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let encoding = if choice % 2 == 0 { Encoding::Json } else { Encoding::Cbor };
    let Ok(value) = encoding.decode::<T>(bytes) else { return };
    // A body is not looked at before it is used, so that one of a stranger's may have no JSON form.
    let Ok(written) = encoding.encode(&value) else { return };
    match encoding.decode::<T>(&written) {
        Ok(again) => assert_eq!(again, value),
        Err(error) => panic!("{value:?} was written as {written:?}, which can't be read: {error}"),
    }
}

pub(crate) fn announcement(bytes: &[u8]) {
    round_trip::<announce::Announcement>(bytes);
}

pub(crate) fn heartbeat(bytes: &[u8]) {
    round_trip::<announce::Heartbeat>(bytes);
}

pub(crate) fn to_instance(bytes: &[u8]) {
    round_trip::<dispatch::ToInstance>(bytes);
    round_trip::<dispatch::TaskBatch>(bytes);
    round_trip::<dispatch::Receipt>(bytes);
}

pub(crate) fn result_batch(bytes: &[u8]) {
    round_trip::<dispatch::ResultBatch>(bytes);
}

pub(crate) fn synced(bytes: &[u8]) {
    round_trip::<dispatch::Synced>(bytes);
}

pub(crate) fn control(bytes: &[u8]) {
    round_trip::<control::Control>(bytes);
    round_trip::<control::Controlled>(bytes);
}

pub(crate) fn node_order(bytes: &[u8]) {
    round_trip::<control::NodeOrder>(bytes);
    round_trip::<control::NodeAnswer>(bytes);
}

pub(crate) fn enrol(bytes: &[u8]) {
    round_trip::<enrol::EnrolRequest>(bytes);
    round_trip::<enrol::EnrolAnswer>(bytes);
}

pub(crate) fn api_request(bytes: &[u8]) {
    round_trip::<api::MeasurementRequest>(bytes);
}

/// What clients read.
pub(crate) fn api_answer(bytes: &[u8]) {
    round_trip::<api::Page<api::Measurement>>(bytes);
    round_trip::<api::Page<api::ResultRecord>>(bytes);
    round_trip::<api::Page<api::Rollup>>(bytes);
    round_trip::<api::Page<api::VpView>>(bytes);
    round_trip::<api::Page<api::ModuleView>>(bytes);
    round_trip::<api::Page<api::KindView>>(bytes);
    round_trip::<api::Measurement>(bytes);
    round_trip::<api::Plan>(bytes);
    round_trip::<api::TaskTrace>(bytes);
    round_trip::<api::Limits>(bytes);
    round_trip::<rest::Selected>(bytes);
    round_trip::<rest::WhoAmI>(bytes);
    round_trip::<rest::SignInCode>(bytes);
    round_trip::<status::NetworkStatus>(bytes);
    round_trip::<status::Availability>(bytes);
    round_trip::<status::AvailabilityTable>(bytes);
    round_trip::<problem::Problem>(bytes);
    round_trip::<event::Event>(bytes);
}

pub(crate) fn stream(bytes: &[u8]) {
    round_trip::<stream::FromClient>(bytes);
    round_trip::<stream::FromAnchor>(bytes);
    // What is passed on as it is written is what a full reading gives, where that can read it.
    if let Some(written) = stream::Written::read(&bytes.to_vec().into())
        && let Ok(read) = Encoding::Cbor.decode::<stream::FromAnchor>(bytes)
    {
        let stream::FromAnchor::Results { records, .. } = read else { panic!("{read:?} has no records") };
        assert!(written.decode().is_ok_and(|read| read == records));
        let again = stream::Written::of(&records).and_then(|written| written.decode());
        assert!(again.is_ok_and(|read| read == records));
    }
}

pub(crate) fn body(bytes: &[u8]) {
    let body = body::Body::from_cbor(bytes.to_vec().into());
    let Ok(json) = body.to_json() else { return };
    match body::Body::from_json(json.clone()).map(|again| again.to_json()) {
        Ok(Ok(again)) => assert_eq!(again, json),
        other => panic!("{json} has no way back: {other:?}"),
    }
}

pub(crate) fn subject(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let prefix = Prefix::default();
    if let Ok(subject) = Subject::parse(&prefix, text) {
        assert_eq!(subject.on(&prefix), text);
    }
    as_text::<id::TaskId>(text);
    as_text::<id::VpId>(text);
    as_text::<id::KindName>(text);
    as_text::<id::InstanceId>(text);
    as_text::<announce::SchemaVersion>(text);
    as_text::<Prefix>(text);
    as_text::<api::Cursor>(text);
}

/// What can be read as text is written as text that reads as the same again.
fn as_text<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    assert!(value.to_string().parse().is_ok_and(|again: T| again == value), "{text:?}");
}

pub(crate) fn times(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(instant) = text.parse::<Timestamp>() {
        assert_eq!(instant.to_string().parse(), Ok(instant));
    }
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.to_string().parse(), Ok(span));
    }
}

pub(crate) fn selection(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(selection) = text.parse::<Selection>() {
        let written = selection.to_string();
        match written.parse::<Selection>() {
            Ok(again) => assert_eq!(again, selection),
            Err(error) => panic!("{text:?} was written as {written:?}, which can't be read: {error}"),
        }
    }
    round_trip::<Selection>(bytes);
}
