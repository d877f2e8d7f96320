//! What is wrong with a file.

use std::fmt;

/// Everything that is wrong with a file, as far as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: Box<str>,
    /// The line, counted from 1; absent where it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub what: Box<str>,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// Collects what is wrong while a file is read.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    file: Box<str>,
    text: &'t str,
    found: Vec<Problem>,
}

/// More than anybody reads.
const MOST: usize = 20;

impl<'t> Problems<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        Self { file: file.into(), text, found: Vec::new() }
    }

    /// Notes a problem of what begins at this octet of the file.
    pub(super) fn add(&mut self, at: Option<usize>, what: impl Into<Box<str>>) {
        if self.found.len() < MOST {
            let line = at.and_then(|at| self.text.get(..at)).map(|head| head.matches('\n').count() + 1);
            self.found.push(Problem { file: self.file.clone(), line, what: what.into() });
        }
    }

    pub(super) fn finish(self) -> Result<(), PlanError> {
        if self.found.is_empty() { Ok(()) } else { Err(PlanError { problems: self.found }) }
    }
}
