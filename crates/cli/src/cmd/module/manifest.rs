//! Manifests on their way to a node: the text travels, the folder in which it lay does not.

use std::path::{Path, PathBuf};

use toml::Value;

/// The manifest with absolute paths in place of the words of its command that name files in `beside`, and these paths.
/// A program's bare name stays what `PATH` says, and a text without such words, or one that is no TOML, stays as it is.
pub(super) fn anchored(text: &str, beside: &Path) -> (String, Vec<PathBuf>) {
    let Ok(mut manifest) = text.parse::<toml::Table>() else { return (text.to_owned(), Vec::new()) };
    let mut made = Vec::new();
    for (key, is_command) in [("command", true), ("args", false)] {
        let Some(Value::Array(words)) = manifest.get_mut(key) else { continue };
        for (at, word) in words.iter_mut().enumerate() {
            let Value::String(word) = word else { continue };
            let is_bare_program = is_command && at == 0 && !word.contains('/');
            let path = beside.join(&*word);
            if is_bare_program || Path::new(&*word).is_absolute() || !path.is_file() {
                continue;
            }
            // What is no UTF-8 can't stand in TOML either.
            if let (Ok(path), true) = (std::path::absolute(&path), path.to_str().is_some()) {
                *word = path.to_string_lossy().into_owned();
                made.push(path);
            }
        }
    }
    if made.is_empty() { (text.to_owned(), made) } else { (manifest.to_string(), made) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_the_manifest_are_found_from_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["echo.py", "python3", "table"] {
            std::fs::write(at(name), "").unwrap();
        }
        let text = r#"
            command = ["python3", "-u", "echo.py", "/etc/hostname", "gone.py"]
            args = ["--table", "./table", ""]
            drain_seconds = 3
        "#;
        let (manifest, made) = anchored(text, dir.path());
        assert_eq!(made, [at("echo.py"), at("table")]);
        let manifest: toml::Table = manifest.parse().unwrap();
        let expected: toml::Table = format!(
            "command = [\"python3\", \"-u\", {:?}, \"/etc/hostname\", \"gone.py\"]\n\
             args = [\"--table\", {:?}, \"\"]\ndrain_seconds = 3",
            at("echo.py"),
            at("table"),
        )
        .parse()
        .unwrap();
        assert_eq!(manifest, expected);
        let (_, made) = anchored("command = [\"./python3\"]", dir.path());
        assert_eq!(made, [at("python3")]);
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["command = [\"true\"] # as it was", "command = ", "builtin = \"dns\""] {
            assert_eq!(anchored(text, Path::new("/nowhere")), (text.to_owned(), Vec::new()));
        }
    }
}
