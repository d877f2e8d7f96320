//! A text that is scrolled.

use super::keys::Key;
use super::pane::Pane;
use crate::table::Cell;
use unicode_width::UnicodeWidthStr;

#[derive(Debug, Default)]
pub(super) struct Sheet {
    first: usize,
    lines: usize,
    room: usize,
}

impl Sheet {
    /// Scrolls, if the key does.
    pub(super) fn key(&mut self, key: &Key) -> bool {
        let last = self.lines.saturating_sub(self.room);
        self.first = match key {
            Key::Up | Key::Char('k') => self.first.saturating_sub(1),
            Key::Down | Key::Char('j') => self.first + 1,
            Key::PageUp => self.first.saturating_sub(self.room),
            Key::PageDown | Key::Char(' ') => self.first + self.room,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Draws what shows of these lines; long ones are wrapped, and go on where they began.
    pub(super) fn draw(&mut self, pane: &mut Pane<'_>, lines: &[Vec<Cell>]) {
        let width = pane.width();
        let wrapped: Vec<_> = lines.iter().flat_map(|line| wrap(line, width)).collect();
        self.room = pane.height();
        self.lines = wrapped.len();
        self.first = self.first.min(self.lines.saturating_sub(self.room));
        pane.lines(0, wrapped.get(self.first..).unwrap_or_default());
    }
}

/// A line in as many as it needs. Words stay whole where they fit; what follows is indented as the line was.
pub(super) fn wrap(line: &[Cell], width: usize) -> Vec<Vec<Cell>> {
    let total: usize = line.iter().map(|piece| piece.text.width()).sum();
    if total <= width || width == 0 {
        return vec![line.to_vec()];
    }
    let blanks = line.first().map_or(0, |piece| piece.text.len() - piece.text.trim_start_matches(' ').len());
    let indent = (blanks + 2).min(width / 2);
    let mut lines = vec![Vec::new()];
    let mut used = 0;
    for piece in line {
        for word in piece.text.split_inclusive(' ') {
            let mut word = word.to_owned();
            loop {
                let wide = word.trim_end_matches(' ').width();
                let fresh = used == 0 || (lines.len() > 1 && used == indent);
                if used + wide > width && !fresh {
                    lines.push(vec![Cell::new(" ".repeat(indent))]);
                    used = indent;
                    continue;
                }
                // A word that is longer than a line is cut where the line ends.
                let rest = if used + wide > width { cut_at(&mut word, width - used) } else { String::new() };
                used += word.width();
                if let Some(last) = lines.last_mut() {
                    last.push(Cell { text: word, tone: piece.tone });
                }
                if rest.is_empty() {
                    break;
                }
                word = rest;
            }
        }
    }
    lines
}

/// Groups of pieces one behind the other after `first`, in as many lines as they need; none is torn.
pub(super) fn flow(first: Vec<Cell>, groups: Vec<Vec<Cell>>, width: usize) -> Vec<Vec<Cell>> {
    let wide = |line: &[Cell]| line.iter().map(|piece| piece.text.width()).sum::<usize>();
    let indent = wide(&first);
    let mut lines = vec![first];
    let mut used = indent;
    for group in groups {
        let blanks = group.last().map_or(0, |last| last.text.len() - last.text.trim_end_matches(' ').len());
        if used > indent && used + wide(&group) - blanks > width {
            lines.push(vec![Cell::new(" ".repeat(indent))]);
            used = indent;
        }
        used += wide(&group);
        if let Some(line) = lines.last_mut() {
            line.extend(group);
        }
    }
    lines
}

/// Leaves of a text what fits, but one character at least, and gives the rest.
fn cut_at(text: &mut String, room: usize) -> String {
    let mut used = 0;
    let over = |(at, char): (usize, char)| {
        used += char.to_string().width();
        (used > room && at > 0).then_some(at)
    };
    let at = text.char_indices().find_map(over).unwrap_or(text.len());
    text.split_off(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: usize) -> Vec<String> {
        let lines = wrap(&[Cell::new(text)], width);
        lines.iter().map(|line| line.iter().map(|piece| piece.text.as_str()).collect()).collect()
    }

    #[test]
    fn groups_are_not_torn() {
        let groups = || ["a b  ", "c d  ", "e f  "].map(|text| vec![Cell::new(text)]).to_vec();
        let lines = flow(vec![Cell::new("x: ")], groups(), 12);
        let lines: Vec<_> =
            lines.iter().map(|line| line.iter().map(|one| &*one.text).collect::<String>()).collect();
        assert_eq!(lines, ["x: a b  c d  ", "   e f  "]);
        assert_eq!(flow(Vec::new(), groups(), 0).len(), 3);
    }

    #[test]
    fn long_lines_are_wrapped() {
        assert_eq!(wrapped("one two", 10), ["one two"]);
        assert_eq!(wrapped("one two three four", 10), ["one two ", "  three ", "  four"]);
        assert_eq!(wrapped("abcdefghijklmno", 6), ["abcdef", "  ghij", "  klmn", "  o"]);
        assert_eq!(wrapped("x", 0), ["x"]);
    }
}
