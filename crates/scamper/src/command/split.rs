//! Text into options and what follows them.

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing.
    Nothing,
    /// Decimal digits, perhaps with a minus before them.
    Digits,
    /// A word, or anything in single or double quotes.
    Text,
}

/// An option as it stands: its letter, and its value, if it takes one.
pub(super) type Given = (char, Option<String>);

/// The options of a text and what follows them. Options that take nothing may share a hyphen.
pub(super) fn split(text: &str, takes: impl Fn(char) -> Option<Takes>) -> Result<(Vec<Given>, &str), String> {
    let mut given = Vec::new();
    let mut rest = text.trim_start();
    while let Some(after) = rest.strip_prefix('-') {
        let (letters, mut after) = word(after);
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            let takes = takes(letter).ok_or_else(|| format!("unknown option -{letter}"))?;
            if takes == Takes::Nothing {
                given.push((letter, None));
                continue;
            }
            if letters.peek().is_some() {
                return Err(format!("the value of -{letter} must stand after a space"));
            }
            if after.is_empty() {
                return Err(format!("-{letter} has no value"));
            }
            let value;
            (value, after) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) if takes == Takes::Text => {
                    quoted(after.get(1..).unwrap_or_default(), quote)
                        .map_err(|why| format!("-{letter} {why}"))?
                }
                _ => {
                    let (value, after) = word(after);
                    (value.to_owned(), after)
                }
            };
            if takes == Takes::Digits && !digits(&value) {
                return Err(format!("-{letter} takes a number, not '{value}'"));
            }
            given.push((letter, Some(value)));
        }
        rest = after;
    }
    Ok((given, rest.trim_end()))
}

/// A value as it can stand in a command: in quotes where it needs them.
pub(super) fn quote(value: &str) -> String {
    let plain = !value.is_empty() && !value.starts_with(['"', '\'']) && !value.contains(char::is_whitespace);
    if plain { value.to_owned() } else { format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")) }
}

/// The first word, and what follows the space behind it.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

/// What stands up to a quote; a backslash takes its meaning from the quote, or from another backslash.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped)) if escaped == '\\' || escaped == quote => value.push(escaped),
                _ => return Err("has a backslash before what needs none"),
            },
            letter if letter == quote => {
                let rest = text.get(at + letter.len_utf8()..).unwrap_or_default();
                return Ok((value, rest.trim_start()));
            }
            letter => value.push(letter),
        }
    }
    Err("has a quote without its end")
}

fn digits(value: &str) -> bool {
    let value = value.strip_prefix('-').unwrap_or(value);
    !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(letter: char) -> Option<Takes> {
        Some(match letter {
            'R' | 'Q' => Takes::Nothing,
            'c' => Takes::Digits,
            'p' => Takes::Text,
            _ => return None,
        })
    }

    #[test]
    fn options_are_told_from_what_follows() {
        let (given, rest) =
            split(" -RQc 3  -p 'a \\'b\\\\' -p \"it's\" -p x -c -7 the rest ", takes).unwrap();
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(
            given,
            [
                ('R', None),
                ('Q', None),
                ('c', value("3")),
                ('p', value("a 'b\\")),
                ('p', value("it's")),
                ('p', value("x")),
                ('c', value("-7")),
            ]
        );
        assert_eq!(rest, "the rest");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("-x", "unknown option -x"),
            ("-c", "-c has no value"),
            ("-c4", "the value of -c must stand after a space"),
            ("-c four", "-c takes a number, not 'four'"),
            ("-c '4'", "-c takes a number, not ''4''"),
            ("-p 'x", "-p has a quote without its end"),
            ("-p '\\x'", "-p has a backslash before what needs none"),
        ] {
            assert_eq!(split(text, takes), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn quotes_are_read_again() {
        for value in ["x", "", "a b", "'", "\\'", "a\\b", "\"", "it's"] {
            let text = format!("-p {} end", quote(value));
            assert_eq!(split(&text, takes), Ok((vec![('p', Some(value.into()))], "end")), "{text}");
        }
    }
}
