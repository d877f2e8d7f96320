//! Messages of the WebSocket and their frames: JSON in text, CBOR in binary. An answer takes the form of its question.

use axum::extract::ws::Message;
use mmn_schema::encoding::Encoding;
use mmn_schema::problem::Problem;
use mmn_schema::stream::{FromAnchor, FromClient};
use serde::Deserialize;

use crate::api::body;
use crate::api::reply::internal;

/// A question, or what is wrong with it, and the form of its answer.
pub(crate) type Question = (Encoding, Result<FromClient, Unread>);

/// A message that can't be read.
#[derive(Debug)]
pub(crate) struct Unread {
    /// The question's number, where that much could be read.
    pub(crate) id: Option<u64>,
    pub(crate) problem: Problem,
}

pub(crate) fn read_text(text: &[u8]) -> Question {
    (Encoding::Json, read(Encoding::Json, text))
}

pub(crate) fn read_binary(bytes: &[u8]) -> Question {
    (Encoding::Cbor, read(Encoding::Cbor, bytes))
}

pub(crate) fn write(form: Encoding, answer: &FromAnchor) -> Message {
    let bytes = form.encode(answer).or_else(|error| {
        let problem = internal(format!("the answer can't be written: {error}"));
        form.encode(&FromAnchor::Problem { id: None, problem })
    });
    let bytes = bytes.unwrap_or_default();
    match form {
        // JSON is written as UTF-8.
        Encoding::Json => Message::Text(String::from_utf8(bytes).unwrap_or_default().into()),
        Encoding::Cbor => Message::Binary(bytes.into()),
    }
}

fn read(form: Encoding, bytes: &[u8]) -> Result<FromClient, Unread> {
    body::decode(form, bytes).map_err(|problem| Unread { id: number_of(form, bytes), problem })
}

/// The number in a question that is wrong elsewhere.
fn number_of(form: Encoding, bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        id: u64,
    }
    let message: std::collections::BTreeMap<String, Numbered> = form.decode(bytes).ok()?;
    message.into_values().next().map(|numbered| numbered.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read() {
        let question = FromClient::Unsubscribe { id: 7 };
        let json = Encoding::Json.encode(&question).unwrap();
        let cbor = Encoding::Cbor.encode(&question).unwrap();
        assert_eq!(read_text(&json).1.unwrap(), question);
        assert_eq!(read_binary(&cbor).1.unwrap(), question);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_number() {
        let (_, read) = read_text(br#"{"measure": {"id": 9, "request": {"kind": "ping", "from": "a+"}}}"#);
        let unread = read.unwrap_err();
        assert_eq!(unread.id, Some(9));
        assert_eq!(unread.problem.errors[0].pointer, "/measure/request/from");
        assert_eq!(read_text(b"nonsense").1.unwrap_err().id, None);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes: Vec<u8>) {
            prop_assert!(read_text(&bytes).1.is_err());
            let _ = read_binary(&bytes);
        }
    }
}
