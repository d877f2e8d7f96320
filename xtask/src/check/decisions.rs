//! Decision notes are numbered without gap or double: `docs/decisions/NNNN-title.md`, headed `# NNNN: Title`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::entries;

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut expected = 1;
    for path in entries(&root.join("docs/decisions"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.split_once('-').map(|(number, _)| number).unwrap_or_default();
        if name == "README.md" {
            continue;
        }
        if number != format!("{expected:04}") || path.extension() != Some(OsStr::new("md")) {
            wrong.push(format!("docs/decisions/{name}: expected {expected:04}-title.md"));
        }
        let text = fs::read_to_string(&path)?;
        if !text.starts_with(&format!("# {number}: ")) {
            wrong.push(format!("docs/decisions/{name}: expected the heading \"# {number}: …\""));
        }
        expected += 1;
    }
    Ok(wrong)
}
