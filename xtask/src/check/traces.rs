//! What may not stand in the tree: `unsafe` outside the folders that own it or without its `SAFETY:`, work left for later,
//! tests that are switched off.

use super::{File, Files};

/// The folders in which `unsafe` lives.
const UNSAFE: [&str; 2] = ["crates/node/src/net/", "crates/lab/src/sys/"];

/// Words that mark what is not done, in pieces, so that this file does not hold them.
const LATER: [(&str, &str); 7] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("to", "do!("),
    ("unimple", "mented!("),
    ("#[ign", "ore"),
    ("pytest.mark.", "skip"),
    ("it.", "skip("),
];

pub(super) fn check(files: &Files) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.ending(&["rs"]) {
        check_unsafe(file, &mut wrong);
    }
    for file in files.ending(&["rs", "py", "ts", "sh", "svelte"]) {
        for (line, text) in numbered(file) {
            for (one, two) in LATER {
                let mark = [one, two].concat();
                if has_word(text, &mark) {
                    wrong.push(format!("{}:{line}: {mark}", file.path));
                }
            }
        }
    }
    wrong
}

fn check_unsafe(file: &File, wrong: &mut Vec<String>) {
    let mut explained = false;
    for (line, text) in numbered(file) {
        let code = text.split("//").next().unwrap_or_default();
        if text.contains("SAFETY:") || text.contains("# Safety") {
            explained = true;
        } else if has_word(code, "unsafe") && !code.contains('"') {
            if !UNSAFE.iter().any(|folder| file.path.starts_with(folder)) {
                wrong.push(format!("{}:{line}: unsafe stands only in {}", file.path, UNSAFE.join(" and ")));
            } else if !explained {
                wrong.push(format!("{}:{line}: unsafe without a SAFETY: comment", file.path));
            }
            explained = false;
        } else if code.trim().is_empty() && !text.trim_start().starts_with("//") {
            explained = false;
        }
    }
}

fn numbered(file: &File) -> impl Iterator<Item = (usize, &str)> {
    file.text.lines().enumerate().map(|(number, line)| (number + 1, line))
}

/// Whether a line holds a word that is not part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|tail| tail.chars().next());
        !(before.is_some_and(part) || word.ends_with(part) && after.is_some_and(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(path: &str, text: &str) -> Vec<String> {
        check(&Files(vec![File { path: path.to_owned(), text: text.to_owned() }]))
    }

    #[test]
    fn unsafe_stands_where_it_may_and_is_explained() {
        let block = "// SAFETY: the pointer is ours.\nlet x = unsafe { f() };\n";
        assert_eq!(check_one("crates/node/src/net/a.rs", block), [""; 0]);
        assert_eq!(check_one("crates/node/src/net/a.rs", "unsafe { f() }").len(), 1);
        assert_eq!(check_one("crates/node/src/a.rs", block).len(), 1);
        assert_eq!(check_one("crates/node/src/a.rs", "let unsafe_code = 1; // unsafe it is not").len(), 0);
    }

    #[test]
    fn work_left_for_later_is_found() {
        let mark = ["TO", "DO"].concat();
        assert_eq!(check_one("a.rs", &format!("// {mark}: more")).len(), 1);
        assert_eq!(check_one("a.rs", &format!("// a {mark}list")).len(), 0);
    }
}
