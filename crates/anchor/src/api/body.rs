//! Bodies of requests: JSON or CBOR, bounded in size and time, with errors that point at the field.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mmn_schema::encoding::Encoding;
use mmn_schema::problem::Problem;
use mmn_schema::select::Selection;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::limits::BODY_TIMEOUT;
use super::reply::{bad_request, internal};

/// A body of so many bytes is read beside the runtime, so that it holds up nobody.
const LARGE: usize = 1 << 18;

/// Reads a body as a value.
pub(crate) async fn read<T>(head: &Parts, body: Body, limit: usize) -> Result<T, Problem>
where
    T: DeserializeOwned + Send + 'static,
{
    let declared = content_type(&head.headers)?;
    let bytes = collect(body, limit).await?;
    let encoding = Encoding::of(declared, &bytes).map_err(|error| unsupported(&error.to_string()))?;
    if bytes.is_empty() {
        return Err(malformed("the body is empty"));
    }
    if bytes.len() < LARGE {
        return decode(encoding, &bytes);
    }
    tokio::task::spawn_blocking(move || decode(encoding, &bytes)).await.map_err(internal)?
}

/// Reads bytes as a value.
pub(crate) fn decode<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) -> Result<T, Problem> {
    // What can't be read is read again, with an eye on where it goes wrong.
    encoding.decode(bytes).or_else(|_| explained(encoding, bytes))
}

fn explained<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) -> Result<T, Problem> {
    match encoding {
        Encoding::Json => {
            let mut reader = serde_json::Deserializer::from_slice(bytes);
            let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
                if error.inner().is_data() {
                    invalid(error.path(), &error.inner().to_string(), bytes)
                } else {
                    malformed(&format!("not valid JSON: {}", error.inner()))
                }
            })?;
            reader.end().map_err(|error| malformed(&format!("not valid JSON: {error}")))?;
            Ok(value)
        }
        Encoding::Cbor => {
            let mut reader = cbor4ii::serde::Deserializer::new(cbor4ii::core::utils::SliceReader::new(bytes));
            serde_path_to_error::deserialize(&mut reader).map_err(|error| {
                let text = error.inner().to_string();
                // cbor4ii does not tell a wrong field from wrong bytes; a path is known for the former alone.
                if error.path().iter().next().is_some() || missing_field(&text).is_some() {
                    invalid(error.path(), &text, &[])
                } else {
                    malformed(&format!("not valid CBOR for this request: {text}"))
                }
            })
        }
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && coding != "identity"
    {
        return Err(unsupported("the body has a content coding, and none is understood here"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| unsupported("the content type is no text"))?;
    Encoding::from_content_type(text).map_err(|error| unsupported(&error.to_string()))?;
    Ok(Some(text))
}

async fn collect(body: Body, limit: usize) -> Result<bytes::Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(413, "too-large", "The request is too large")
                .detail(format!("a body has at most {limit} bytes"))
                .hint("send the inputs in several requests, or append them to an open measurement"))
        }
        Ok(Err(_)) => Err(bad_request("the body broke off")),
        Err(_) => Err(Problem::new(408, "timeout", "The request took too long")
            .detail(format!("its body did not arrive within {} s", BODY_TIMEOUT.as_secs()))),
    }
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(415, "unsupported-media-type", "The body is of a type that is not understood here")
        .detail(detail)
        .hint("send it with Content-Type: application/json")
}

fn malformed(detail: &str) -> Problem {
    Problem::new(400, "malformed-body", "The body can't be read").detail(detail)
}

/// A field that is wrong, with a pointer to it, and the character's position where it is a selection.
fn invalid(path: &Path, text: &str, json: &[u8]) -> Problem {
    let mut pointer = pointer(path);
    if let Some(field) = missing_field(text) {
        push(&mut pointer, field);
    }
    let detail = text.rsplit_once(" at line ").map_or(text, |(detail, _)| detail);
    let mut problem = crate::problems::invalid().at(&*pointer, detail);
    if let Some(error) = problem.errors.last_mut()
        && let Some((message, position)) = selection_error(&pointer, json)
    {
        error.detail = message;
        error.position = position;
    }
    problem
}

/// The JSON Pointer (RFC 6901) of a path.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Enum { variant } => push(&mut pointer, variant),
            Segment::Unknown => break,
        }
    }
    pointer
}

fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

fn missing_field(text: &str) -> Option<&str> {
    text.split_once("missing field `")?.1.split_once('`').map(|(field, _)| field)
}

/// What is wrong with the selection at `pointer`, and at which character, where it is one given as text.
fn selection_error(pointer: &str, json: &[u8]) -> Option<(String, Option<usize>)> {
    if !(pointer.ends_with("/from") || pointer.ends_with("/select")) {
        return None;
    }
    let whole: serde_json::Value = serde_json::from_slice(json).ok()?;
    let error = whole.pointer(pointer)?.as_str()?.parse::<Selection>().err()?;
    Some((error.message, Some(error.position)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmn_schema::api::MeasurementRequest;
    use proptest::prelude::*;

    fn refused(json: &str) -> Problem {
        decode::<MeasurementRequest>(Encoding::Json, json.as_bytes()).unwrap_err()
    }

    #[test]
    fn errors_point_at_the_field() {
        for (json, pointer) in [
            (r#"{"kind": "ping", "inputs": [1]}"#, "/inputs/0"),
            (r#"{"kind": "Ping!"}"#, "/kind"),
            (r"{}", "/kind"),
            (r#"{"kind": "ping", "budget": {"max_tasks": "many"}}"#, "/budget/max_tasks"),
            (r#"{"kind": "ping", "deadline": "1 fortnight"}"#, "/deadline"),
            (r#"{"kind": "ping", "a/b~c": 1}"#, "/a~1b~0c"),
        ] {
            let problem = refused(json);
            assert_eq!((problem.status, &*problem.reason), (422, "invalid-request"), "{json}");
            assert_eq!(problem.errors[0].pointer, pointer, "{json}: {problem}");
            assert!(!problem.errors[0].detail.contains("at line"), "{problem}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_by_its_place() {
        for json in ["{\"kind\": ", "{\"kind\": \"ping\"} x", "nonsense"] {
            let problem = refused(json);
            assert_eq!(problem.status, 400, "{json}");
            assert!(problem.detail.unwrap().contains("line 1 column"), "{json}");
        }
    }

    #[test]
    fn a_selection_is_wrong_at_a_character() {
        let problem = refused(r#"{"kind": "ping", "from": "germany+, x"}"#);
        assert_eq!(problem.errors[0].pointer, "/from");
        assert_eq!(problem.errors[0].position, Some(8), "{problem}");
    }

    #[test]
    fn cbor_is_read_likewise() {
        let good = serde_json::json!({ "kind": "ping", "inputs": ["127.0.0.1"] });
        let bytes = Encoding::Cbor.encode(&good).unwrap();
        assert!(decode::<MeasurementRequest>(Encoding::Cbor, &bytes).is_ok());
        let bytes = Encoding::Cbor.encode(&serde_json::json!({ "kind": 7 })).unwrap();
        assert_eq!(decode::<MeasurementRequest>(Encoding::Cbor, &bytes).unwrap_err().status, 422);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes: Vec<u8>) {
            for encoding in [Encoding::Json, Encoding::Cbor] {
                prop_assert!(decode::<MeasurementRequest>(encoding, &bytes).is_err());
            }
        }
    }
}
