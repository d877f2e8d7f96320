//! How fast files of warts become Python objects.

use crate::lines::Bench;
use crate::report::Report;

use super::script::Figures;
use super::warts;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let pings: u32 = if bench.quick { 50_000 } else { 350_000 };
    let file = tempfile::NamedTempFile::new()?;
    warts::write(file.as_file(), pings)?;
    report.note(&format!("{pings} pings; the middle one of 3 runs"));
    let figures = Figures::taken(bench, &["read".as_ref(), file.path().as_os_str()])?;
    let of = |name: &str| figures.of(name);
    report.at_least("ping records as Python objects", "/s", of("objects")?, 100_000.0);
    report.exactly("  that were read", "", of("records")?, f64::from(pings));
    report.yardstick("  each asked for address, least RTT and first reply", "/s", of("asked")?);
    report.exactly("  that had all of these", "", of("answered")?, f64::from(pings));
    report.yardstick("  their octets, copied by Python", "/s", of("copied")?);
    Ok(())
}
