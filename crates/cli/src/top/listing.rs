//! A list that is moved through. Only the rows that show are made.

use super::keys::Key;
use super::pane::Pane;
use crate::table::{Cell, Column, Row, Table};

/// Room before each row for the mark of the one that keys act on.
const MARK: usize = 2;

#[derive(Debug)]
pub(super) struct Listing {
    columns: Vec<Column>,
    /// With the widths of what was shown: columns stay where they are while one moves.
    table: Table,
    width: usize,
    cursor: usize,
    first: usize,
    /// How many rows there was room for.
    room: usize,
}

impl Listing {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let table = Table::new(columns.clone());
        Self { columns, table, width: 0, cursor: 0, first: 0, room: 1 }
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(super) fn go_to(&mut self, at: usize) {
        self.cursor = at;
    }

    /// Rows were put before all others: whoever looked at one goes on doing so.
    pub(super) fn shift(&mut self, more: usize) {
        self.cursor += more;
        self.first += more;
    }

    /// The list is another one, and its columns may be as wide as that needs.
    pub(super) fn begin_anew(&mut self) {
        (self.cursor, self.first) = (0, 0);
        self.table = Table::new(self.columns.clone());
    }

    /// Moves, if the key moves.
    pub(super) fn key(&mut self, key: &Key, len: usize) -> bool {
        let last = len.saturating_sub(1);
        self.cursor = match key {
            Key::Up | Key::Char('k') => self.cursor.saturating_sub(1),
            Key::Down | Key::Char('j') => self.cursor + 1,
            Key::PageUp => self.cursor.saturating_sub(self.room),
            Key::PageDown | Key::Char(' ') => self.cursor + self.room,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Draws titles and rows; says which rows show, from 0.
    pub(super) fn draw(&mut self, pane: &mut Pane<'_>, len: usize, mut row: impl FnMut(usize) -> Row) {
        if pane.width() != self.width {
            self.width = pane.width();
            self.table = Table::new(self.columns.clone());
        }
        self.room = pane.height().saturating_sub(1).max(1);
        self.cursor = self.cursor.min(len.saturating_sub(1));
        self.first = self.first.min(len.saturating_sub(self.room)).min(self.cursor);
        self.first = self.first.max((self.cursor + 1).saturating_sub(self.room));
        let rows: Vec<_> = (self.first..len).take(self.room).map(&mut row).collect();
        for row in &rows {
            self.table.measure(row);
        }
        let width = Some(self.width.saturating_sub(MARK));
        let mut titles = vec![Cell::new("  ")];
        titles.extend(self.table.titles(width));
        pane.line(0, &titles);
        for (at, row) in rows.iter().enumerate() {
            let chosen = self.first + at == self.cursor;
            let mut pieces = vec![Cell::new(if chosen { "› " } else { "  " })];
            pieces.extend(self.table.pieces(row, width));
            pane.line(at + 1, &pieces);
            if chosen {
                pane.highlight(at + 1);
            }
        }
    }
}
