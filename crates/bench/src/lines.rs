//! The lines of a benchmark's table: which there are, which are asked for, and how they are run one by one.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;

use crate::clock;
use crate::report::Report;

/// What every line gets.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The program that is measured.
    pub(crate) mmn: PathBuf,
    /// A Python that has the module `scamper`, where a line asks for it.
    pub(crate) python: PathBuf,
    /// Whether what lasts is shortened.
    pub(crate) quick: bool,
}

/// A line of the table.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Whether it belongs to the one run.
    pub(crate) always: bool,
    pub(crate) run: fn(&Bench, &mut Report) -> anyhow::Result<()>,
}

/// A line that belongs to the one run.
pub(crate) const fn line(
    name: &'static str,
    what: &'static str,
    run: fn(&Bench, &mut Report) -> anyhow::Result<()>,
) -> Line {
    Line { name, what, always: true, run }
}

/// Runs the lines that the arguments name.
pub(crate) fn run(lines: &[Line], arguments: &[OsString]) -> anyhow::Result<Report> {
    let mut mmn = std::env::current_exe()?.with_file_name("mmn");
    let mut python = PathBuf::from("python3");
    let mut quick = false;
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--mmn") => mmn = arguments.next().context("--mmn wants a path")?.into(),
            Some("--python") => python = arguments.next().context("--python wants a path")?.into(),
            Some("--quick") => quick = true,
            Some(name) if lines.iter().any(|line| line.name == name) => names.push(name.to_owned()),
            _ => {
                let known: Vec<_> = lines.iter().map(|line| line.name).collect();
                anyhow::bail!("{} is no line; there are: {}", argument.display(), known.join(", "));
            }
        }
    }
    let mmn = std::path::absolute(mmn)?;
    anyhow::ensure!(mmn.is_file(), "{} is not there: cargo build --release", mmn.display());
    let bench = Bench { mmn, python, quick };
    let mut report = Report::new();
    let cpus = std::thread::available_parallelism()?;
    report.note(&format!("{} on {cpus} processors, everything on them", bench.mmn.display()));
    let begin = clock::now();
    for line in lines {
        let asked = if names.is_empty() { line.always } else { names.iter().any(|name| name == line.name) };
        if !asked {
            continue;
        }
        report.note(&format!("-- {}: {}", line.name, line.what));
        report.print();
        if let Err(error) = (line.run)(&bench, &mut report) {
            report.broken(line.name, &error);
        }
        report.print();
    }
    report.note(&format!("{:.0} s in all", (clock::now() - begin).as_secs_f64()));
    report.print();
    Ok(report)
}
