//! Rows and columns that fit into a width. It prints nothing: it makes lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::style::{Style, Tone};

/// What stands between columns.
const GAP: usize = 2;

/// What stands behind the name of a vantage point whose network is simulated. It is never cut off.
pub(crate) const SIMULATED: &str = " (simulated)";
/// How many columns its cell has at least.
const LEAST_SIMULATED: usize = SIMULATED.len() + 3;

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) title: String,
    /// Numbers stand at the right.
    pub(crate) right: bool,
    /// It is cut, down to so many characters, where the line would be too long.
    pub(crate) shrinks_to: Option<usize>,
    /// It is left out, the last such column first, where the line would still be too long.
    pub(crate) optional: bool,
}

impl Column {
    pub(crate) fn left(title: impl Into<String>) -> Self {
        Self { title: title.into(), right: false, shrinks_to: None, optional: false }
    }

    pub(crate) fn right(title: impl Into<String>) -> Self {
        Self { right: true, ..Self::left(title) }
    }

    pub(crate) fn shrinks_to(mut self, least: usize) -> Self {
        self.shrinks_to = Some(least);
        self
    }

    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// A cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: one_line(&text.into()), tone: Tone::Plain }
    }

    pub(crate) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// A row: a cell for each column, or fewer and then a text to the end of the line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) tail: Option<Cell>,
}

impl From<Vec<Cell>> for Row {
    fn from(cells: Vec<Cell>) -> Self {
        Self { cells, tail: None }
    }
}

/// The columns of a table with the widths that they have got so far: rows that come one by one stay aligned as long
/// as none needs more room than those before.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        let widths = columns.iter().map(|column| column.title.width()).collect();
        Self { columns, widths }
    }

    /// Makes room for `text` in a column.
    pub(crate) fn reserve(&mut self, column: usize, text: &str) {
        if let Some(width) = self.widths.get_mut(column) {
            *width = (*width).max(text.width());
        }
    }

    /// Makes room for a row.
    pub(crate) fn measure(&mut self, row: &Row) {
        for (at, cell) in row.cells.iter().enumerate() {
            self.reserve(at, &cell.text);
            if cell.text.ends_with(SIMULATED)
                && let Some(least) = self.columns.get_mut(at).and_then(|column| column.shrinks_to.as_mut())
            {
                *least = (*least).max(LEAST_SIMULATED.min(cell.text.width()));
            }
        }
    }

    /// The line of titles.
    pub(crate) fn header(&self, width: Option<usize>, style: Style) -> String {
        self.line(&self.title_row(), width, style)
    }

    /// The titles as pieces.
    pub(crate) fn titles(&self, width: Option<usize>) -> Vec<Cell> {
        self.pieces(&self.title_row(), width)
    }

    fn title_row(&self) -> Row {
        let titles = self.columns.iter().map(|column| Cell::new(column.title.clone()).tone(Tone::Head));
        titles.collect::<Vec<_>>().into()
    }

    /// A row as a line of at most `width` characters.
    pub(crate) fn line(&self, row: &Row, width: Option<usize>, style: Style) -> String {
        let pieces = self.pieces(row, width);
        let mut line: String = pieces.iter().map(|piece| style.paint(&piece.text, piece.tone)).collect();
        line.truncate(line.trim_end_matches(' ').len());
        line
    }

    /// A row as pieces that stand one behind the other, the room between cells among them.
    pub(crate) fn pieces(&self, row: &Row, width: Option<usize>) -> Vec<Cell> {
        let widths = self.fitted(width);
        let mut pieces = Vec::new();
        let blank = |room: usize| Cell { text: " ".repeat(room), tone: Tone::Plain };
        let mut used = 0;
        for (column, (cell, &room)) in self.columns.iter().zip(row.cells.iter().zip(&widths)) {
            if room == 0 {
                continue;
            }
            if used > 0 {
                pieces.push(blank(GAP));
                used += GAP;
            }
            let text = cut(&cell.text, room);
            let pad = blank(room.saturating_sub(text.width()));
            let cell = Cell { text, tone: cell.tone };
            pieces.extend(if column.right { [pad, cell] } else { [cell, pad] });
            used += room;
        }
        if let Some(tail) = &row.tail {
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(used + GAP));
            pieces.extend([blank(GAP), Cell { text: cut(&tail.text, room), tone: tail.tone }]);
        }
        pieces
    }

    /// The width of each column; 0 leaves it out.
    fn fitted(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths = self.widths.clone();
        let Some(limit) = width else { return widths };
        let total =
            |widths: &[usize]| widths.iter().filter(|w| **w > 0).map(|w| w + GAP).sum::<usize>() - GAP;
        loop {
            let over = total(&widths).saturating_sub(limit);
            if over == 0 {
                return widths;
            }
            // The widest of those that may shrink gives first.
            let widest = self
                .columns
                .iter()
                .zip(widths.iter_mut())
                .filter_map(|(column, width)| {
                    column.shrinks_to.filter(|least| *width > *least).map(|l| (l, width))
                })
                .max_by_key(|(_, width)| **width);
            if let Some((least, width)) = widest {
                *width = width.saturating_sub(over.div_ceil(2).max(1)).max(least);
                continue;
            }
            let left_out =
                self.columns.iter().zip(widths.iter_mut()).rev().find(|(c, w)| c.optional && **w > 0);
            match left_out {
                Some((_, width)) => *width = 0,
                None => return widths,
            }
        }
    }
}

/// A whole table as lines.
pub(crate) fn lines(columns: Vec<Column>, rows: &[Row], width: Option<usize>, style: Style) -> Vec<String> {
    let mut table = Table::new(columns);
    for row in rows {
        table.measure(row);
    }
    let mut lines = vec![table.header(width, style)];
    lines.extend(rows.iter().map(|row| table.line(row, width, style)));
    lines
}

/// The text in at most `room` columns, with `…` where something is missing.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    if let Some(name) = text.strip_suffix(SIMULATED)
        && room >= LEAST_SIMULATED
    {
        return cut(name, room - SIMULATED.len()) + SIMULATED;
    }
    let mut kept = String::new();
    let mut used = 1;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used > room {
            break;
        }
        kept.push(char);
    }
    if room > 0 {
        kept.push('…');
    }
    kept
}

/// What comes from the network may hold anything: control characters would play with the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(width: Option<usize>) -> String {
        let columns = vec![
            Column::left("TARGET").shrinks_to(8),
            Column::left("VP").shrinks_to(6),
            Column::right("SENT"),
            Column::right("MEDIAN").optional(),
        ];
        let row = |target: &str, vp: &str, sent: &str, median: &str| {
            Row::from(vec![target.into(), vp.into(), sent.into(), median.into()])
        };
        let mut rows = vec![
            row("2001:db8:1234:5678::1", "frankfurt-datacentre-7", "10", "12.3 ms"),
            row("example.org", "a", "3", ""),
        ];
        rows.push(Row { cells: vec!["x".into(), "b".into()], tail: Some("refused: policy".into()) });
        lines(columns, &rows, width, Style::plain()).join("\n")
    }

    #[test]
    fn what_is_simulated_says_so_however_narrow_the_table_is() {
        let row = |name: &str| Row::from(vec!["2001:db8::1".into(), name.into(), "12.3 ms".into()]);
        for width in [20, 30, 40, 80] {
            let columns = vec![
                Column::left("TARGET").shrinks_to(4),
                Column::left("VP").shrinks_to(6),
                Column::right("RTT"),
            ];
            let rows = [row("a (simulated)"), row("frankfurt-datacentre-7 (simulated)")];
            for line in lines(columns, &rows, Some(width), Style::plain()).iter().skip(1) {
                assert!(line.contains("(simulated)"), "{line}");
            }
        }
    }

    #[test]
    fn tables_fit() {
        insta::assert_snapshot!("as_wide_as_needed", sample(None));
        insta::assert_snapshot!("in_40_columns", sample(Some(40)));
        insta::assert_snapshot!("in_26_columns", sample(Some(26)));
        for width in 1..60 {
            let text = sample(Some(width));
            assert!(width < 22 || text.lines().all(|line| line.width() <= width), "{width}\n{text}");
        }
    }

    #[test]
    fn control_characters_stay_out() {
        assert_eq!(Cell::new("a\u{1b}[2Jb\n").text, "a\u{fffd}[2Jb\u{fffd}");
    }
}
