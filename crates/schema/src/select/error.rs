//! Why a text is no selection, and where.

use std::fmt;

/// Why a text is no selection. `{}` is one line; `{:#}` adds the text with a caret below the character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectError {
    /// The position of the character that is wrong, counted in characters from 0. The text's length where something
    /// is missing at its end; 0 where the selection was not given as text.
    pub position: usize,
    /// What is wrong, and what was expected.
    pub message: String,
    text: String,
}

/// How many characters of the text are shown on each side of the caret.
const SHOWN: usize = 60;

impl SelectError {
    pub(super) fn new(text: &str, position: usize, message: impl Into<String>) -> Self {
        let from = position.saturating_sub(SHOWN);
        let shown: String = text.chars().skip(from).take(2 * SHOWN).collect();
        Self { position, message: message.into(), text: shown }
    }

    /// An error in a selection that was not given as text.
    pub(super) fn structured(message: impl Into<String>) -> Self {
        Self { position: 0, message: message.into(), text: String::new() }
    }
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.text.is_empty() {
            return Ok(());
        }
        if !f.alternate() {
            return write!(f, " (at character {})", self.position);
        }
        // A control character would move the caret away from its place.
        let line: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "\n  {line}\n  {:>width$}", '^', width = self.position.min(SHOWN) + 1)
    }
}

impl std::error::Error for SelectError {}
