//! The terminal: taken when this begins, and given back as it was, however this ends.

use std::io::{self, IsTerminal, Stdout};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::App;
use crate::failure::Failure;
use crate::style::Style;

/// The whole screen of the terminal.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    style: Style,
}

impl Screen {
    /// Says what to do instead where there is no terminal to draw on.
    pub(crate) fn check() -> Result<(), Failure> {
        let hint = "`mmn vps`, `mmn modules` and `mmn measurements` print lists, `mmn watch` what happens";
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let why = if !io::stdout().is_terminal() {
            "stdout is none"
        } else if !io::stdin().is_terminal() {
            "stdin is none"
        } else if dumb {
            "this one can not place its cursor (TERM=dumb)"
        } else {
            return Ok(());
        };
        Err(Failure::misused(format!("`mmn top` draws on a terminal, and {why}")).hint(hint))
    }

    /// Takes the terminal. A panic gives it back before it is told.
    pub(super) fn take() -> Result<Self, Failure> {
        let terminal = ratatui::try_init();
        let terminal = terminal.inspect_err(|_| drop(ratatui::try_restore()))?;
        // Dropped from here on, it gives the terminal back.
        let screen = Self { terminal, style: Style::for_terminal() };
        execute!(io::stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, app: &mut App) -> io::Result<()> {
        let style = self.style;
        self.terminal.draw(|frame| {
            if let Some(position) = app.draw(frame.buffer_mut(), style) {
                frame.set_cursor_position(position);
            }
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to hear that it failed.
        let _ = execute!(io::stdout(), DisableBracketedPaste);
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}
