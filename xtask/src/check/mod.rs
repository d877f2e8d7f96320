//! The house rules that neither the compiler nor clippy checks.

mod decisions;
mod length;
mod pure;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Runs every check, and lists what is wrong.
pub(crate) fn run(root: &Path) -> Result<String> {
    let files = Files::read(root)?;
    let mut wrong = Vec::new();
    wrong.extend(pure::check(root)?);
    wrong.extend(length::check(&files));
    wrong.extend(decisions::check(root)?);
    wrong.extend(traces::check(&files));
    if wrong.is_empty() {
        return Ok(format!("{}\nhouse rules: all hold", length::report(&files)));
    }
    bail!("{}\nhouse rules: {} broken", wrong.join("\n"), wrong.len());
}

/// The text files of the tree that people write.
struct Files(Vec<File>);

struct File {
    /// Below the root, with `/`.
    path: String,
    text: String,
}

const FOLDERS: [&str; 9] =
    ["crates", "xtask", "scripts", "docs", "examples", ".ci", "python", "web", "deploy"];
const SKIPPED: [&str; 6] = ["target", "node_modules", "__pycache__", "corpus", "golden", ".venv"];

impl Files {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for folder in FOLDERS {
            walk(root, &root.join(folder), &mut files)?;
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self(files))
    }

    fn ending<'f>(&'f self, extensions: &'f [&str]) -> impl Iterator<Item = &'f File> {
        self.0.iter().filter(move |file| {
            file.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
        })
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || SKIPPED.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
    Ok(())
}

/// What lies in a folder, in order; nothing where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = || format!("{} can't be read", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        paths.push(entry.with_context(unreadable)?.path());
    }
    paths.sort();
    Ok(paths)
}
