//! Numbers as people read them: three digits that matter, and their unit.

use mmn_schema::outcome::Number;

/// A number of a summary, in its unit.
pub(crate) fn show(number: Number, unit: &str) -> String {
    match unit {
        "ns" => nanos(number.as_f64()),
        "ratio" => percent(number.as_f64()),
        "bytes" => bytes(number.as_f64()),
        "1" | "" => plain(number),
        unit => format!("{} {unit}", plain(number)),
    }
}

/// The unit that the name of a number ends with, for kinds that do not tell.
pub(crate) fn unit_of(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("ns") => "ns",
        Some("ratio") => "ratio",
        Some("bytes") => "bytes",
        _ => "1",
    }
}

/// A duration given in nanoseconds: `0.043 ms`, `12.3 ms`, `1.25 s`.
pub(crate) fn nanos(ns: f64) -> String {
    let ms = ns / 1e6;
    match ms.abs() {
        below if below < 0.9995 => format!("{ms:.3} ms"),
        below if below < 9.995 => format!("{ms:.2} ms"),
        below if below < 99.95 => format!("{ms:.1} ms"),
        below if below < 999.5 => format!("{ms:.0} ms"),
        below if below < 99_950.0 => format!("{:.2} s", ms / 1e3),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

/// As [`nanos`], for a count that the kernel gave.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn nanos_u64(ns: u64) -> String {
    nanos(ns as f64)
}

/// A share as percent: `0 %`, `33 %`, `0.4 %`.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent == 0.0 || percent >= 9.95 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// Bytes with a decimal prefix: `512 B`, `1.26 kB`, `3.4 MB`.
pub(crate) fn bytes(count: f64) -> String {
    const PREFIXES: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count.abs() < 1000.0 {
        return format!("{count:.0} B");
    }
    let mut scaled = count / 1000.0;
    let mut prefix = "kB";
    for next in PREFIXES.into_iter().skip(1) {
        if scaled.abs() < 999.5 {
            break;
        }
        scaled /= 1000.0;
        prefix = next;
    }
    match scaled.abs() {
        below if below < 9.995 => format!("{scaled:.2} {prefix}"),
        below if below < 99.95 => format!("{scaled:.1} {prefix}"),
        _ => format!("{scaled:.0} {prefix}"),
    }
}

/// Seconds as a person says them: `4 s`, `3 min`, `2 h`, `5 d`.
pub(crate) fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A count and its noun: `1 task`, `2 tasks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn plain(number: Number) -> String {
    match number {
        Number::Integer(number) => number.to_string(),
        Number::Real(number) => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_matter() {
        let shown: Vec<_> = [43e3, 1.234e6, 12.34e6, 123.4e6, 1.2345e9, 123e9].map(nanos).to_vec();
        assert_eq!(shown, ["0.043 ms", "1.23 ms", "12.3 ms", "123 ms", "1.23 s", "123 s"]);
        let shown: Vec<_> = [0.0, 0.004, 0.5, 1.0].map(percent).to_vec();
        assert_eq!(shown, ["0 %", "0.4 %", "50 %", "100 %"]);
        let shown: Vec<_> = [0.0, 999.0, 1256.0, 999_700.0, 3.4e9].map(bytes).to_vec();
        assert_eq!(shown, ["0 B", "999 B", "1.26 kB", "1.00 MB", "3.40 GB"]);
        let shown: Vec<_> = [1, 119, 120, 7300, 200_000].map(ago).to_vec();
        assert_eq!(shown, ["1 s", "119 s", "2 min", "2 h", "2 d"]);
    }

    #[test]
    fn units_follow_from_names() {
        assert_eq!(show(Number::Integer(43_000), unit_of("rtt_min_ns")), "0.043 ms");
        assert_eq!(show(Number::Integer(3), unit_of("sent")), "3");
        assert_eq!(show(Number::Real(0.5), unit_of("loss_ratio")), "50 %");
        assert_eq!(show(Number::Real(1.5), "Mbit/s"), "1.500 Mbit/s");
    }
}
