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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};

    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::tcgetattr;

    use super::*;
    use crate::clock;

    const PANICS: &str = "MMN_TEST_PANICS";

    /// This test runs itself once more, on a terminal of its own, and panics there.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::take().unwrap();
            screen.draw(&mut App::new(clock::wall())).unwrap();
            panic!("as the test wants it");
        }
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        let before = tcgetattr(&theirs).unwrap().local_modes;
        let stdio = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "top::screen::tests::a_panic_gives_the_terminal_back", "--nocapture"]);
        command.env(PANICS, "1").env("TERM", "xterm-256color");
        let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        // It has the terminal open, too: nobody but this test shall, once the child has ended.
        drop(command);

        let drawn = std::thread::spawn(move || {
            let mut picture = vt100::Parser::new(30.try_into().unwrap(), 100.try_into().unwrap(), 0);
            let (mut ours, mut bytes, mut was_taken) = (File::from(ours), [0; 4096], false);
            // An error is told when nobody has the terminal open any more.
            while let Ok(count) = ours.read(&mut bytes) {
                for byte in &bytes[..count] {
                    picture.process(std::slice::from_ref(byte));
                    was_taken |= picture.screen().alternate_screen();
                }
            }
            (picture, was_taken)
        });
        assert!(!child.wait().unwrap().success());
        let after = tcgetattr(&theirs).unwrap().local_modes;
        drop(theirs);
        let (picture, was_taken) = drawn.join().unwrap();
        let screen = picture.screen();
        assert!(was_taken, "{}", screen.contents());
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert!(screen.contents().contains("as the test wants it"), "{}", screen.contents());
        assert_eq!(after, before);
    }
}
