//! A part of the screen. Whatever is drawn stays inside it, however small it is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use crate::style::{Style, Tone};
use crate::table::Cell;

/// A rectangle to draw in.
pub(super) struct Pane<'b> {
    buffer: &'b mut Buffer,
    area: Rect,
    style: Style,
}

impl<'b> Pane<'b> {
    /// The whole of a buffer.
    pub(super) fn new(buffer: &'b mut Buffer, style: Style) -> Self {
        let area = buffer.area;
        Self { buffer, area, style }
    }

    pub(super) fn width(&self) -> usize {
        self.area.width.into()
    }

    pub(super) fn height(&self) -> usize {
        self.area.height.into()
    }

    /// The part that begins at this column and line, and has at most this width and height.
    pub(super) fn part(&mut self, x: usize, y: usize, width: usize, height: usize) -> Pane<'_> {
        let at = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        let (x, y) = (at(x).min(self.area.width), at(y).min(self.area.height));
        let area = Rect {
            x: self.area.x + x,
            y: self.area.y + y,
            width: at(width).min(self.area.width - x),
            height: at(height).min(self.area.height - y),
        };
        Pane { buffer: self.buffer, area, style: self.style }
    }

    /// Writes pieces one behind the other into a line; what is too long is cut.
    pub(super) fn line(&mut self, y: usize, pieces: &[Cell]) {
        let Some(y) = u16::try_from(y).ok().filter(|y| *y < self.area.height) else { return };
        let (mut x, y, end) = (self.area.x, self.area.y + y, self.area.right());
        for piece in pieces {
            let room = usize::from(end.saturating_sub(x));
            if room == 0 {
                return;
            }
            (x, _) = self.buffer.set_stringn(x, y, &piece.text, room, paint(self.style, piece.tone));
        }
    }

    /// Writes lines from `y` on.
    pub(super) fn lines(&mut self, y: usize, lines: &[Vec<Cell>]) {
        for (at, line) in lines.iter().enumerate().take(self.height().saturating_sub(y)) {
            self.line(y + at, line);
        }
    }

    /// Shows that a line is the one that keys act on.
    pub(super) fn highlight(&mut self, y: usize) {
        if let Some(y) = u16::try_from(y).ok().filter(|y| *y < self.area.height) {
            let line = Rect { y: self.area.y + y, height: 1, ..self.area };
            self.buffer.set_style(line, ratatui::style::Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    /// Where a column and a line of it are on the screen.
    pub(super) fn position(&self, x: usize, y: usize) -> Option<(u16, u16)> {
        let inside = x < self.width() && y < self.height();
        let at = |value: usize| u16::try_from(value).ok();
        inside.then(|| Some((self.area.x + at(x)?, self.area.y + at(y)?))).flatten()
    }
}

fn paint(style: Style, tone: Tone) -> ratatui::style::Style {
    let plain = ratatui::style::Style::new();
    let colour = |colour| if style.is_painted() { plain.fg(colour) } else { plain };
    match tone {
        Tone::Plain => plain,
        Tone::Head => plain.add_modifier(Modifier::BOLD),
        Tone::Faint => plain.add_modifier(Modifier::DIM),
        Tone::Good => colour(Color::Green),
        Tone::Warn => colour(Color::Yellow),
        Tone::Bad => colour(Color::Red),
    }
}
