//! The line `attach`, and the words of interactive lines.

use std::fmt;

/// In what form results are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Records of warts, encoded by [`uu`](crate::uu).
    #[default]
    Warts,
    /// A line of JSON each.
    Json,
}

/// What a client asks for when it attaches. What it leaves out is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attach {
    /// The number of the cycle (1).
    pub cycle_id: Option<u32>,
    /// A description of the list.
    pub description: Option<String>,
    /// The form of results.
    pub format: Format,
    /// The number of the list (0).
    pub list_id: Option<u32>,
    /// The name of the monitor.
    pub monitor: Option<String>,
    /// The name of the list (that of the socket).
    pub name: Option<String>,
    /// Its share beside others, from 1 to 100,000 (1).
    pub priority: Option<u32>,
}

impl Attach {
    /// Reads what follows the word `attach`: keys and values, each in double quotes where it has spaces.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut attach = Self::default();
        let mut words = words(text)?.into_iter();
        while let Some(key) = words.next() {
            let Some(value) = words.next() else { return Err(format!("{key} has no value")) };
            let number = |low: u32, high: u32| match value.parse() {
                Ok(number) if (low..=high).contains(&number) => Ok(Some(number)),
                _ => Err(format!("{key} must be a number within {low} - {high}, not {value}")),
            };
            match key.to_ascii_lowercase().as_str() {
                "cycle_id" => attach.cycle_id = number(0, u32::MAX)?,
                "descr" => attach.description = Some(value),
                "format" => {
                    attach.format = match value.to_ascii_lowercase().as_str() {
                        "warts" => Format::Warts,
                        "json" => Format::Json,
                        _ => return Err(format!("format must be warts or json, not {value}")),
                    };
                }
                "list_id" => attach.list_id = number(0, u32::MAX)?,
                "monitor" => attach.monitor = Some(value),
                "name" => attach.name = Some(value),
                "priority" => attach.priority = number(1, 100_000)?,
                _ => return Err(format!("{key} is no parameter of attach")),
            }
        }
        Ok(attach)
    }
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attach")?;
        for (key, number) in
            [("cycle_id", self.cycle_id), ("list_id", self.list_id), ("priority", self.priority)]
        {
            if let Some(number) = number {
                write!(f, " {key} {number}")?;
            }
        }
        for (key, text) in [("descr", &self.description), ("monitor", &self.monitor), ("name", &self.name)] {
            if let Some(text) = text {
                write!(f, " {key} \"{}\"", text.replace('"', ""))?;
            }
        }
        match self.format {
            Format::Warts => Ok(()),
            Format::Json => f.write_str(" format json"),
        }
    }
}

/// The words of a line: parted by spaces, or in double quotes.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a double quote without its end")?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start_matches(' ');
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let attach = Attach {
            cycle_id: Some(3),
            description: Some("a list of things".into()),
            format: Format::Json,
            priority: Some(10),
            ..Attach::default()
        };
        let text = attach.to_string();
        assert_eq!(text, "attach cycle_id 3 priority 10 descr \"a list of things\" format json");
        assert_eq!(Attach::parse(text.strip_prefix("attach").unwrap()), Ok(attach));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("priority 0", "priority must be a number within 1 - 100000, not 0"),
            ("format text", "format must be warts or json, not text"),
            ("name", "name has no value"),
            ("name \"x", "a double quote without its end"),
            ("colour red", "colour is no parameter of attach"),
        ] {
            assert_eq!(Attach::parse(text), Err(reason.into()), "{text}");
        }
    }
}
