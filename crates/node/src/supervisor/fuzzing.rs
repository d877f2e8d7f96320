//! The supervisor's decoders for fuzzing: each takes what a stranger wrote, and panics where a promise is broken.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use super::claims;
use super::manifest::{Manifest, instance_id, is_name};

/// A manifest of `modules.d/`, and the same text as the name of a module. What was read can be written, and reads as
/// the same again.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(!is_name(text) || instance_id(text, [0xff; 4]).is_some(), "{text:?} gives no instance");
    let Ok(manifest) = Manifest::from_toml(text) else { return };
    assert!(!manifest.enabled || manifest.instances > 0);
    let _ = manifest.limits.rlimits();
    match toml::to_string(&manifest) {
        Ok(written) => assert_eq!(Manifest::from_toml(&written).as_ref(), Ok(&manifest), "{written}"),
        // TOML has no integers beyond 63 bits.
        Err(error) => assert!(error.to_string().contains("u64"), "{manifest:?}: {error}"),
    }
}

/// The JWT that a module shows to its holder.
pub fn own_claims(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = claims::of(text);
    let jwt = format!("a.{}.b", data_encoding::BASE64URL_NOPAD.encode(bytes));
    assert_eq!(claims::of(&jwt).is_some(), serde_json::from_slice::<claims::Claims>(bytes).is_ok());
}
