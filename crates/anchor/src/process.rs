//! What the kernel says of this process, under the names that Prometheus' clients have agreed on.

/// Processor time, memory and open files.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Process {
    /// Processor time in seconds, of the user and of the system.
    pub(crate) cpu_s: Option<f64>,
    /// Resident memory in bytes.
    pub(crate) rss_bytes: Option<u64>,
    /// When it was started, in seconds since 1970 UTC.
    pub(crate) started_s: Option<f64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<u64>,
}

/// Reads it; what can't be read is absent.
pub(crate) fn read() -> Process {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fds = std::fs::read_dir("/proc/self/fd").ok();
    Process {
        // The directory itself is open while it is counted.
        open_fds: fds.map(|entries| entries.count().saturating_sub(1) as u64),
        ..of(&stat, &boot, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
    }
}

/// Processor time and memory alone, of a process by its id, or of `self`.
pub(crate) fn brief(pid: &str) -> Process {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    of(&stat, "", rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
}

impl Process {
    /// Processor time in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative")]
        self.cpu_s.map(|seconds| (seconds * 1e9) as u64)
    }
}

/// The fields of `/proc/PID/stat` (`proc_pid_stat(5)`), and the time of the boot in `/proc/stat`.
fn of(stat: &str, boot: &str, ticks_per_s: u64, page_bytes: u64) -> Process {
    // The second field is the name in parentheses, which may hold spaces and parentheses.
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "seconds in Prometheus are reals")]
    let seconds = |ticks: u64| ticks as f64 / ticks_per_s.max(1) as f64;
    let booted = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    Process {
        cpu_s: number(14).zip(number(15)).map(|(user, system)| seconds(user + system)),
        rss_bytes: number(24).map(|pages| pages * page_bytes),
        started_s: booted.zip(number(22)).map(|(booted, ticks)| booted + seconds(ticks)),
        open_fds: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_a_strange_name() {
        let stat = "77 (a) b) S 1 77 77 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 5 0 3000 9999 42 0\n";
        let process = of(stat, "cpu 1 2\nbtime 1000\n", 100, 4096);
        let expected =
            Process { cpu_s: Some(2.0), rss_bytes: Some(42 * 4096), started_s: Some(1030.0), open_fds: None };
        assert_eq!(process, expected);
        assert_eq!(of("", "", 100, 4096), Process::default());
    }

    #[test]
    fn this_process_is_read() {
        let process = read();
        assert!(process.rss_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.started_s.is_some() && process.open_fds.is_some_and(|fds| fds >= 3), "{process:?}");
    }
}
