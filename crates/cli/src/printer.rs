//! The only place that prints: data to stdout, all else to stderr.
//!
//! On a terminal the last lines of stdout may be redrawn in place ([`Printer::redraw`]), and one line of stderr says
//! how far a long run has come ([`Printer::progress`]).

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::style::{Style, Tone};
use crate::table::one_line;

/// Writes to stdout and stderr.
pub(crate) struct Printer {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Columns and rows of the terminal on stdout.
    screen: Option<(usize, usize)>,
    out_style: Style,
    err_style: Style,
    err_is_terminal: bool,
    /// How many lines are redrawn next time.
    drawn: usize,
    /// A line of progress stands on stderr.
    progress: bool,
}

impl Printer {
    /// The printer of this process.
    pub(crate) fn of_process() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let style = |terminal| if terminal { Style::for_terminal() } else { Style::plain() };
        let screen = if out.is_terminal() {
            let size = rustix::termios::tcgetwinsize(&out).ok();
            let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
            // A terminal that does not know its size is taken for the classic one.
            Some(size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24)))
        } else {
            None
        };
        Self {
            out_style: style(screen.is_some()),
            err_style: style(err.is_terminal()),
            err_is_terminal: err.is_terminal(),
            screen,
            out: Box::new(io::BufWriter::new(out)),
            err: Box::new(err),
            drawn: 0,
            progress: false,
        }
    }

    /// The width of the terminal on stdout; absent when there is none.
    pub(crate) fn width(&self) -> Option<usize> {
        self.screen.map(|(columns, _)| columns)
    }

    /// The height of the terminal on stdout; absent when there is none.
    pub(crate) fn height(&self) -> Option<usize> {
        self.screen.map(|(_, rows)| rows)
    }

    /// The colours of stdout.
    pub(crate) fn style(&self) -> Style {
        self.out_style
    }

    /// Prints a line of data.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        self.clear_progress()?;
        self.drawn = 0;
        writeln!(self.out, "{line}")
    }

    /// Prints lines of data, at once.
    pub(crate) fn lines(&mut self, lines: &[String]) -> io::Result<()> {
        for line in lines {
            self.line(line)?;
        }
        self.flush()
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.clear_progress()?;
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        self.out.write_all(b"\n")
    }

    /// Prints a value as JSON over many lines.
    pub(crate) fn pretty(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        self.flush()
    }

    /// Prints bytes of data as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.flush()
    }

    /// Prints `lines` in place of those of the last call.
    pub(crate) fn redraw(&mut self, lines: &[String]) -> io::Result<()> {
        if self.drawn > 0 {
            write!(self.out, "\u{1b}[{}A", self.drawn)?;
        }
        for line in lines {
            // The line is erased first: the new one may be shorter.
            writeln!(self.out, "\u{1b}[2K{line}")?;
        }
        for _ in lines.len()..self.drawn {
            writeln!(self.out, "\u{1b}[2K")?;
        }
        self.drawn = lines.len().max(self.drawn);
        self.flush()
    }

    /// Sends what is buffered on its way.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Says something that is no data.
    pub(crate) fn note(&mut self, text: &str) {
        // Nobody is left to hear that stderr is closed.
        let _ = self.clear_progress();
        let _ = writeln!(self.err, "{text}");
    }

    /// Says something less important.
    pub(crate) fn faint(&mut self, text: &str) {
        let text = self.err_style.paint(text, Tone::Faint);
        self.note(&text);
    }

    /// Says what is odd and does not stop the work.
    pub(crate) fn warn(&mut self, text: &str) {
        let word = self.err_style.paint("warning:", Tone::Warn);
        self.note(&format!("{word} {text}"));
    }

    /// Says what went wrong, and what to do about it.
    pub(crate) fn error(&mut self, text: &str, hint: Option<&str>) {
        let _ = self.flush();
        let word = self.err_style.paint("error:", Tone::Bad);
        self.note(&format!("{word} {}", one_line(text)));
        if let Some(hint) = hint {
            let word = self.err_style.paint("hint:", Tone::Head);
            self.note(&format!("{word} {}", one_line(hint)));
        }
    }

    /// Says how far a run has come, in place, when somebody watches.
    pub(crate) fn progress(&mut self, text: &str) {
        if self.err_is_terminal {
            let _ = self.out.flush();
            let _ = write!(self.err, "\r\u{1b}[2K{text}");
            let _ = self.err.flush();
            self.progress = true;
        }
    }

    fn clear_progress(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.progress) {
            write!(self.err, "\r\u{1b}[2K")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("screen", &self.screen).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a printer wrote.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A printer without colours, with its stdout and stderr.
    pub(crate) fn printer(screen: Option<(usize, usize)>) -> (Printer, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let printer = Printer {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            screen,
            out_style: Style::plain(),
            err_style: Style::plain(),
            err_is_terminal: false,
            drawn: 0,
            progress: false,
        };
        (printer, out, err)
    }
}
