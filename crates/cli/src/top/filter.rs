//! A line that is typed to filter a list.

use unicode_width::UnicodeWidthStr;

use super::keys::Key;
use crate::style::Tone;
use crate::table::{Cell, one_line};

/// The longest filter, in characters.
const MAX_CHARS: usize = 400;

#[derive(Debug, Default)]
pub(super) struct Filter {
    text: String,
    typing: bool,
}

/// What a key did to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// It is for somebody else.
    Nothing,
    /// It was taken, and the text is as it was.
    Taken,
    Changed,
}

impl Filter {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_typed(&self) -> bool {
        self.typing
    }

    /// Whether it stands on the page.
    pub(super) fn shows(&self) -> bool {
        self.typing || !self.text.is_empty()
    }

    pub(super) fn key(&mut self, key: &Key) -> Typed {
        if !self.typing {
            return match key {
                Key::Char('/') => {
                    self.typing = true;
                    Typed::Taken
                }
                Key::Esc if !self.text.is_empty() => self.wipe(),
                _ => Typed::Nothing,
            };
        }
        match key {
            Key::Enter => {
                self.typing = false;
                Typed::Taken
            }
            Key::Esc => {
                self.typing = false;
                self.wipe()
            }
            Key::Wipe => self.wipe(),
            Key::Backspace => {
                // What has nothing left to take away is left.
                self.typing = self.text.pop().is_some();
                if self.typing { Typed::Changed } else { Typed::Taken }
            }
            Key::Char(char) => self.more(&char.to_string()),
            Key::Text(text) => self.more(text),
            // The list is moved through while one types.
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Break => Typed::Nothing,
            _ => Typed::Taken,
        }
    }

    fn more(&mut self, text: &str) -> Typed {
        let room = MAX_CHARS.saturating_sub(self.text.chars().count());
        self.text.extend(one_line(text.trim_end_matches(['\r', '\n'])).chars().take(room));
        Typed::Changed
    }

    fn wipe(&mut self) -> Typed {
        if self.text.is_empty() {
            return Typed::Taken;
        }
        self.text.clear();
        Typed::Changed
    }

    pub(super) fn pieces(&self) -> Vec<Cell> {
        let slash = Cell::new("/").tone(if self.typing { Tone::Head } else { Tone::Faint });
        vec![slash, Cell::new(self.text.clone()).tone(Tone::Head)]
    }

    /// Where the cursor stands on the line of the filter, while it is typed.
    pub(super) fn cursor(&self, width: usize) -> Option<(usize, usize)> {
        self.typing.then(|| ((self.text.width() + 1).min(width.saturating_sub(1)), 0))
    }

    /// Whether a text has every word of it, however they are written.
    pub(super) fn finds(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.text.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }
}
