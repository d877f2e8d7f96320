//! What modules read: answers of the network beyond its packets, and what anchors and people ask for.

use mmn_schema::body::Body;

/// Parameters as a module takes them: the first octet picks the kind, the second the encoding.
pub(crate) fn params(bytes: &[u8]) {
    let Some((&[kind, encoding], bytes)) = bytes.split_first_chunk() else { return };
    let kinds = mmn_modules::KINDS;
    let Some(kind) = kinds.get(usize::from(kind) % kinds.len()) else { return };
    let body = if encoding % 2 == 0 {
        let Ok(value) = serde_json::from_slice(bytes) else { return };
        let Ok(body) = Body::from_json(value) else { return };
        body
    } else {
        Body::from_cbor(bytes.to_vec().into())
    };
    if let Ok(prepared) = kind.prepare(&body) {
        let cost = prepared.cost().unwrap_or_default();
        assert!(cost.packets > 0 && cost.bytes >= cost.packets && cost.duration_ns > 0, "{cost:?}");
    }
}
