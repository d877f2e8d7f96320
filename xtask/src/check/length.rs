//! How long files are: none over 1,000 lines, nine of ten under 500.

use super::Files;

const MOST: usize = 1000;
const LONG: usize = 500;
const CODE: [&str; 4] = ["rs", "py", "ts", "svelte"];

pub(super) fn check(files: &Files) -> Vec<String> {
    let lengths = lengths(files);
    let mut wrong: Vec<String> = lengths
        .iter()
        .filter(|(_, lines)| *lines > MOST)
        .map(|(path, lines)| format!("{path}: {lines} lines; a file has at most {MOST}"))
        .collect();
    let long = lengths.iter().filter(|(_, lines)| *lines > LONG).count();
    if long * 10 > lengths.len() {
        wrong.push(format!("{long} of {} files have more than {LONG} lines; one in ten may", lengths.len()));
    }
    wrong
}

/// The median, and the files to look at.
pub(super) fn report(files: &Files) -> String {
    let lengths = lengths(files);
    let median = lengths.get(lengths.len() / 2).map_or(0, |(_, lines)| *lines);
    let mut text = format!("length: {} files, median {median} lines", lengths.len());
    for (path, lines) in lengths.iter().rev().take_while(|(_, lines)| *lines > LONG) {
        text.extend(["\n  ", &lines.to_string(), " ", path]);
    }
    text
}

/// Path and number of lines, the shortest first.
fn lengths(files: &Files) -> Vec<(&str, usize)> {
    let mut lengths: Vec<_> =
        files.ending(&CODE).map(|file| (file.path.as_str(), file.text.lines().count())).collect();
    lengths.sort_by_key(|&(_, lines)| lines);
    lengths
}
