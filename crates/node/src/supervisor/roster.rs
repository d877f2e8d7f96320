//! Which modules are to run: the program's own and those of `modules.d/`. Reading files is all that it does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::manifest::{Manifest, is_name};
use crate::config::Builtin;

/// The longest manifest that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The most manifests.
const MAX_MANIFESTS: usize = 256;

/// The manifests by name; in place of a wrong one, what is wrong with it.
pub(super) type Wanted = BTreeMap<String, Result<Arc<Manifest>, String>>;

/// The texts in `modules.d/`, by name; in place of an unreadable one, why.
pub(super) type Texts = BTreeMap<String, Result<String, String>>;

/// Reads the directory. Files that do not end in `.toml` and hidden ones are passed over.
pub(super) fn read(dir: &Path) -> Texts {
    let Ok(entries) = std::fs::read_dir(dir) else { return Texts::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
            (!name.is_empty() && !name.starts_with('.')).then(|| (name, text(&path)))
        })
        .take(MAX_MANIFESTS)
        .collect()
}

/// What is to run.
pub(super) fn wanted(builtins: &[Builtin], texts: &Texts) -> Wanted {
    let own =
        builtins.iter().map(|builtin| (builtin.module.clone(), Ok(Arc::new(Manifest::of_builtin(builtin)))));
    let given = texts.iter().map(|(name, text)| {
        let manifest = if is_name(name) {
            text.clone().and_then(|text| Manifest::from_toml(&text)).map(Arc::new)
        } else {
            Err("its name is no token of up to 32 characters of A-Z, a-z, 0-9, _ and -".to_owned())
        };
        (name.clone(), manifest)
    });
    own.chain(given).collect()
}

fn text(path: &Path) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_BYTES => Err(format!("it has more than {MAX_BYTES} bytes")),
        _ => std::fs::read_to_string(path).map_err(|error| format!("it can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_override_what_the_program_has() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("dns.toml", "builtin = \"dns\"\nenabled = false");
        write("echo.toml", "command = [\"true\"]");
        write("broken.toml", "command = ");
        write("a b.toml", "command = [\"true\"]");
        write(".hidden.toml", "command = [\"true\"]");
        write("notes.txt", "command = [\"true\"]");
        let builtins = ["dns", "http"].map(|name| Builtin { module: name.to_owned(), kinds: Vec::new() });
        let wanted = wanted(&builtins, &read(dir.path()));
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        assert_eq!(names, ["a b", "broken", "dns", "echo", "http"]);
        assert!(!wanted["dns"].as_ref().unwrap().enabled);
        assert!(wanted["broken"].is_err() && wanted["a b"].is_err());
        assert!(wanted["http"].is_ok() && wanted["echo"].is_ok());
    }
}
