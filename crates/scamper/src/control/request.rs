//! What a line asks for.

use super::Attach;
use super::attach::words;

/// A line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Interactive: results are wanted on this connection from now on.
    Attach(Attach),
    /// Interactive: the connection ends.
    Exit,
    /// Interactive: the value of a variable.
    Get(Variable),
    /// Interactive: a variable gets a value; without one it is cleared.
    Set(Variable, Option<String>),
    /// Interactive: which sources there are, or one of them.
    Sources(Option<String>),
    /// Interactive: the daemon shall end.
    Shutdown(Shutdown),
    /// Interactive: a local stop set is emptied.
    ClearStopSet(String),
    /// Interactive: what there is to ask.
    Help,
    /// Attached: a measurement, as text.
    Command(String),
    /// Attached: a measurement is called off.
    Halt(u32),
    /// Attached: no more measurements come; once the results are out the connection ends.
    Done,
    /// A line that asks for nothing known, and what is wrong with it.
    Wrong(String),
}

/// What `get` and `set` know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The command that a line without one means.
    Command,
    /// The name of the monitor.
    MonitorName,
    /// The server that names are asked of.
    NameServer,
    /// The process, to read alone.
    Pid,
    /// Packets per second.
    Pps,
    /// The version, to read alone.
    Version,
    /// How many measurements run at a time; 0 is without bound.
    Window,
}

/// How a daemon is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Not at all, after it had been asked.
    Cancel,
    /// When its sources are done.
    Done,
    /// When what runs has ended.
    Flush,
    /// At once.
    Now,
}

const VARIABLES: [(&str, Variable); 7] = [
    ("command", Variable::Command),
    ("monitorname", Variable::MonitorName),
    ("nameserver", Variable::NameServer),
    ("pid", Variable::Pid),
    ("pps", Variable::Pps),
    ("version", Variable::Version),
    ("window", Variable::Window),
];

impl Variable {
    /// Its name.
    pub fn name(self) -> &'static str {
        VARIABLES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }

    fn of(name: &str) -> Result<Self, String> {
        let found = VARIABLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, variable)| *variable).ok_or_else(|| format!("unknown variable '{name}'"))
    }
}

impl Request {
    /// Reads a line of an attached connection.
    pub fn attached(line: &str) -> Self {
        if line.eq_ignore_ascii_case("done") {
            return Self::Done;
        }
        match line.split_once(' ') {
            Some((word, number)) if word.eq_ignore_ascii_case("halt") => match number.trim().parse() {
                Ok(id) if id > 0 => Self::Halt(id),
                _ => Self::Wrong(format!("halt takes the number of a measurement, not '{}'", number.trim())),
            },
            _ => Self::Command(line.to_owned()),
        }
    }

    /// Reads a line of an interactive connection.
    pub fn interactive(line: &str) -> Self {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let known = match word.to_ascii_lowercase().as_str() {
            "attach" => Attach::parse(rest).map(Self::Attach),
            "exit" => Ok(Self::Exit),
            "get" => Variable::of(rest.trim()).map(Self::Get),
            "help" => Ok(Self::Help),
            "lss-clear" => match rest.trim() {
                "" => Err("lss-clear takes the name of a local stop set".into()),
                name => Ok(Self::ClearStopSet(name.to_owned())),
            },
            "set" => set(rest),
            "shutdown" => shutdown(rest.trim()),
            "source" => sources(rest),
            _ => Err(format!("unhandled command '{word}'")),
        };
        known.unwrap_or_else(Self::Wrong)
    }
}

fn set(rest: &str) -> Result<Request, String> {
    let (name, value) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    let variable = Variable::of(name)?;
    if matches!(variable, Variable::Pid | Variable::Version) {
        return Err(format!("{name} can not be set"));
    }
    let value = value.trim().trim_matches('"');
    Ok(Request::Set(variable, (!value.is_empty()).then(|| value.to_owned())))
}

fn shutdown(how: &str) -> Result<Request, String> {
    let how = match how.to_ascii_lowercase().as_str() {
        "cancel" => Shutdown::Cancel,
        "done" => Shutdown::Done,
        "flush" => Shutdown::Flush,
        "now" => Shutdown::Now,
        _ => return Err(format!("shutdown takes cancel, done, flush or now, not '{how}'")),
    };
    Ok(Request::Shutdown(how))
}

fn sources(rest: &str) -> Result<Request, String> {
    let mut words = words(rest)?.into_iter();
    match words.next() {
        Some(word) if word.eq_ignore_ascii_case("list") => Ok(Request::Sources(words.next())),
        _ => Err("source takes list, and the name of one".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_lines() {
        for (line, request) in [
            ("ping 192.0.2.1", Request::Command("ping 192.0.2.1".into())),
            ("DONE", Request::Done),
            ("halt 7", Request::Halt(7)),
            ("exit", Request::Command("exit".into())),
            ("halt x", Request::Wrong("halt takes the number of a measurement, not 'x'".into())),
            ("halt 0", Request::Wrong("halt takes the number of a measurement, not '0'".into())),
        ] {
            assert_eq!(Request::attached(line), request);
        }
    }

    #[test]
    fn interactive_lines() {
        for (line, request) in [
            ("attach", Request::Attach(Attach::default())),
            ("get pps", Request::Get(Variable::Pps)),
            ("GET Version", Request::Get(Variable::Version)),
            ("set pps 100", Request::Set(Variable::Pps, Some("100".into()))),
            ("set command \"ping -c 1\"", Request::Set(Variable::Command, Some("ping -c 1".into()))),
            ("set monitorname", Request::Set(Variable::MonitorName, None)),
            ("set pid 1", Request::Wrong("pid can not be set".into())),
            ("source list \"a b\"", Request::Sources(Some("a b".into()))),
            ("shutdown now", Request::Shutdown(Shutdown::Now)),
            ("lss-clear x", Request::ClearStopSet("x".into())),
            ("dance", Request::Wrong("unhandled command 'dance'".into())),
        ] {
            assert_eq!(Request::interactive(line), request);
        }
    }
}
