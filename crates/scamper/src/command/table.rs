//! By which the options of a command are written down once, to be read and to be written.
//!
//! A row is a letter, a field and a rule. The field's type says how often the option may stand: a `bool` takes nothing, an
//! `Option` stands once, a `Vec` any number of times. The rule reads a value and writes it.

use super::split::{Takes, quote};

/// Reads a value of an option, and writes it.
pub(super) trait Rule<T> {
    /// Whether the value has to be digits.
    const DIGITS: bool = false;
    /// The value of a text, or what is wrong with it.
    fn read(&self, text: &str) -> Result<T, String>;
    /// A text that reads as the value.
    fn write(&self, value: &T) -> String;
}

/// The rule of an option that takes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag;

/// Why an option was not set.
#[derive(Debug)]
pub(super) enum Fault {
    Repeated,
    Value(String),
}

/// A field that holds what was given of an option.
pub(super) trait Field<R> {
    const TAKES: Takes;
    fn set(&mut self, rule: &R, text: Option<&str>) -> Result<(), Fault>;
    fn write(&self, rule: &R, letter: char, out: &mut String);
}

impl Field<Flag> for bool {
    const TAKES: Takes = Takes::Nothing;

    fn set(&mut self, _: &Flag, _: Option<&str>) -> Result<(), Fault> {
        if std::mem::replace(self, true) { Err(Fault::Repeated) } else { Ok(()) }
    }

    fn write(&self, _: &Flag, letter: char, out: &mut String) {
        if *self {
            out.extend([' ', '-', letter]);
        }
    }
}

impl<T, R: Rule<T>> Field<R> for Option<T> {
    const TAKES: Takes = if R::DIGITS { Takes::Digits } else { Takes::Text };

    fn set(&mut self, rule: &R, text: Option<&str>) -> Result<(), Fault> {
        let value = rule.read(text.unwrap_or_default()).map_err(Fault::Value)?;
        if self.replace(value).is_some() { Err(Fault::Repeated) } else { Ok(()) }
    }

    fn write(&self, rule: &R, letter: char, out: &mut String) {
        if let Some(value) = self {
            one(letter, &rule.write(value), out);
        }
    }
}

impl<T, R: Rule<T>> Field<R> for Vec<T> {
    const TAKES: Takes = if R::DIGITS { Takes::Digits } else { Takes::Text };

    fn set(&mut self, rule: &R, text: Option<&str>) -> Result<(), Fault> {
        self.push(rule.read(text.unwrap_or_default()).map_err(Fault::Value)?);
        Ok(())
    }

    fn write(&self, rule: &R, letter: char, out: &mut String) {
        for value in self {
            one(letter, &rule.write(value), out);
        }
    }
}

fn one(letter: char, value: &str, out: &mut String) {
    out.extend([' ', '-', letter, ' ']);
    out.push_str(&quote(value));
}

/// What an option takes, by its field's type and its rule.
pub(super) fn takes<F: Field<R>, R>(_: &R) -> Takes {
    F::TAKES
}

/// Reads options, and gives what follows them.
pub(super) fn read<'a>(
    command: &'static str,
    text: &'a str,
    takes: impl Fn(char) -> Option<Takes>,
    mut set: impl FnMut(char, Option<&str>) -> Result<(), Fault>,
) -> Result<&'a str, super::CommandError> {
    use super::CommandError;
    let (given, rest) =
        super::split::split(text, takes).map_err(|reason| CommandError::Syntax { command, reason })?;
    for (letter, value) in given {
        set(letter, value.as_deref()).map_err(|fault| match fault {
            Fault::Repeated => CommandError::Repeated(letter),
            Fault::Value(reason) => CommandError::Value { letter, reason },
        })?;
    }
    Ok(rest)
}

/// A struct of options; what stands in parentheses are fields that are none.
macro_rules! options {
    ($(#[$about:meta])* $name:ident ($($(#[$plain_about:meta])* $plain:ident: $plain_type:ty)?) {
        $($(#[$doc:meta])* $letter:literal $field:ident: $type:ty = $rule:expr,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$plain_about])* pub $plain: $plain_type,)?
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            fn takes(letter: char) -> Option<crate::command::split::Takes> {
                match letter {
                    $($letter => {
                        Some(crate::command::table::takes::<$type, _>(&$rule))
                    })*
                    _ => None,
                }
            }

            fn set(&mut self, letter: char, text: Option<&str>) -> Result<(), crate::command::table::Fault> {
                match letter {
                    $($letter => crate::command::table::Field::set(&mut self.$field, &$rule, text),)*
                    _ => Ok(()),
                }
            }

            fn options(&self) -> String {
                let mut out = String::new();
                $(crate::command::table::Field::write(&self.$field, &$rule, $letter, &mut out);)*
                out
            }
        }
    };
}

/// A command: its word, what it measures, and its options. `check` is the struct's own.
macro_rules! command {
    ($(#[$about:meta])* $name:ident = $word:literal, $target:ty;
        $($(#[$doc:meta])* $letter:literal $field:ident: $type:ty = $rule:expr,)*) => {
        crate::command::table::options! {
            $(#[$about])*
            $name (
                /// What is measured.
                target: $target
            ) {
                $($(#[$doc])* $letter $field: $type = $rule,)*
            }
        }

        impl $name {
            /// The word that the command begins with.
            pub const WORD: &'static str = $word;

            /// A command without options.
            pub fn new(target: $target) -> Self {
                Self { target, $($field: <$type>::default(),)* }
            }

            /// Reads what follows the word.
            pub(super) fn parse(text: &str) -> Result<Self, crate::command::CommandError> {
                use crate::command::CommandError;
                use crate::command::rules::Target;
                let mut options = Self::new(<$target as Target>::none());
                let rest = crate::command::table::read(Self::WORD, text, Self::takes, |letter, value| {
                    options.set(letter, value)
                })?;
                let target = Target::read(rest)
                    .map_err(|reason| CommandError::Target(format!("{}: {reason}", Self::WORD)))?;
                let command = Self { target, ..options };
                command.check().map_err(CommandError::Together)?;
                Ok(command)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let target = crate::command::rules::Target::write(&self.target);
                f.write_str(Self::WORD)?;
                f.write_str(&self.options())?;
                if target.is_empty() { Ok(()) } else { write!(f, " {target}") }
            }
        }
    };
}

pub(super) use {command, options};
