//! The framing of server-sent events (WHATWG HTML, section 9.2).

use std::fmt::Display;
use std::io::Write;

use bytes::Bytes;
use serde::Serialize;

/// A comment: it shows that the stream is alive, and readers pass over it.
pub(crate) const COMMENT: &[u8] = b":\n\n";

/// One event.
pub(crate) fn event<T: Serialize>(name: &str, id: Option<&dyn Display>, data: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(512);
    write_with(&mut bytes, name, id, data);
    bytes.into()
}

/// Appends one event whose id is a cursor, where it has one.
pub(crate) fn write<T: Serialize>(bytes: &mut Vec<u8>, name: &str, id: Option<&impl Display>, data: &T) {
    write_with(bytes, name, id.map(|id| id as &dyn Display), data);
}

/// JSON as we write it holds no line break, so that one `data` field is enough. What can't be written is left out as
/// a whole.
fn write_with<T: Serialize>(bytes: &mut Vec<u8>, name: &str, id: Option<&dyn Display>, data: &T) {
    let start = bytes.len();
    let mut written = || -> std::io::Result<()> {
        if let Some(id) = id {
            writeln!(bytes, "id: {id}")?;
        }
        write!(bytes, "event: {name}\ndata: ")?;
        serde_json::to_writer(&mut *bytes, data)?;
        bytes.write_all(b"\n\n")
    };
    if written().is_err() {
        bytes.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmn_schema::api::Cursor;

    #[test]
    fn an_event_is_framed() {
        let mut bytes = Vec::new();
        write(&mut bytes, "result", Some(&Cursor { seq: 17, pos: 0 }), &"two\nlines");
        write(&mut bytes, "result", None::<&Cursor>, &1);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "id: 17.0\nevent: result\ndata: \"two\\nlines\"\n\nevent: result\ndata: 1\n\n");
        assert_eq!(&event("done", None, &true)[..], b"event: done\ndata: true\n\n");
    }
}
