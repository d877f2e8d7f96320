//! Colours, where they are wanted.

/// Whether texts are painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    painted: bool,
}

/// What a text is, so that a colour can say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// A title.
    Head,
    /// Less important than the rest.
    Faint,
    /// As it should be.
    Good,
    /// Something to look at.
    Warn,
    /// Wrong.
    Bad,
}

impl Style {
    /// No colours.
    pub(crate) const fn plain() -> Self {
        Self { painted: false }
    }

    /// Colours.
    #[cfg(test)]
    pub(crate) const fn painted() -> Self {
        Self { painted: true }
    }

    /// Colours, unless `NO_COLOR` is set and not empty (no-color.org) or the terminal is dumb.
    pub(crate) fn for_terminal() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { painted: !set("NO_COLOR") && !dumb }
    }

    /// Whether there are colours.
    pub(crate) const fn is_painted(self) -> bool {
        self.painted
    }

    /// The text in the colour of its tone.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            _ if !self.painted || text.is_empty() => return text.to_owned(),
            Tone::Head => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
