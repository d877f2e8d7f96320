//! Rows as CSV (RFC 4180): lines end with CR and LF, the first has the columns' names, what is absent is empty.

use super::{Cell, Column};

/// The first line.
pub fn header(columns: &[Column], line: &mut String) {
    fields(columns.iter().map(|column| Field::Text(&column.name)), line);
}

/// The line of a row.
pub fn row(cells: &[Cell], line: &mut String) {
    fields(cells.iter().map(Field::Cell), line);
}

enum Field<'a> {
    Text(&'a str),
    Cell(&'a Cell),
}

fn fields<'a>(list: impl Iterator<Item = Field<'a>>, line: &mut String) {
    for (at, field) in list.enumerate() {
        if at > 0 {
            line.push(',');
        }
        match field {
            Field::Text(name) => text(name, line),
            Field::Cell(Cell::Absent) => {}
            Field::Cell(Cell::Text(value)) => text(value, line),
            Field::Cell(Cell::Integer(value)) => line.push_str(&value.to_string()),
            Field::Cell(Cell::Real(value)) => line.push_str(&value.to_string()),
            Field::Cell(Cell::Flag(value)) => line.push_str(if *value { "true" } else { "false" }),
            Field::Cell(Cell::Instant(value)) => line.push_str(&value.to_string()),
        }
    }
    line.push_str("\r\n");
}

/// A text in quotes where it needs them, or where it would be taken for one that is absent.
fn text(value: &str, line: &mut String) {
    if value.is_empty() || value.contains(['"', ',', '\r', '\n']) {
        line.push('"');
        line.push_str(&value.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_they_need_it() {
        let mut line = String::new();
        let text = |text: &str| Cell::Text(text.to_owned());
        row(
            &[text("a"), Cell::Absent, text(""), text("b,\"c\"\n"), Cell::Real(0.5), Cell::Flag(true)],
            &mut line,
        );
        assert_eq!(line, "a,,\"\",\"b,\"\"c\"\"\n\",0.5,true\r\n");
    }
}
