//! What this host may have missed: packets for which the ring had no room, and packets that the kernel dropped before
//! any socket could see them because its own queue was full.

use std::{
    fs::File,
    io::{self, Read, Seek},
};

use super::ring::Ring;

/// Counters as they were last seen.
#[derive(Debug)]
pub(super) struct Missed {
    softnet: Option<File>,
    text: String,
    backlog: u64,
}

impl Missed {
    pub(super) fn new() -> Self {
        let mut missed = Self {
            // Where it can't be read, the rings' own counters have to do.
            softnet: File::open("/proc/net/softnet_stat").ok(),
            text: String::new(),
            backlog: 0,
        };
        missed.backlog = missed.read().unwrap_or(0);
        missed
    }

    /// Packets that were missed since it was last asked: of the rings, and of the kernel's queue. The latter need not have
    /// been for us.
    pub(super) fn since<'a>(&mut self, rings: impl Iterator<Item = &'a Ring>) -> (u64, u64) {
        let dropped = rings.filter_map(|ring| ring.statistics().ok()).map(|seen| u64::from(seen.drops)).sum();
        let backlog = self.read().unwrap_or(self.backlog);
        let before = std::mem::replace(&mut self.backlog, backlog);
        (dropped, backlog.saturating_sub(before))
    }

    fn read(&mut self) -> io::Result<u64> {
        let Some(file) = &mut self.softnet else { return Ok(0) };
        self.text.clear();
        file.rewind()?;
        file.read_to_string(&mut self.text)?;
        Ok(dropped(&self.text))
    }
}

/// The sum of the second column: packets that a processor's queue had no room for.
fn dropped(softnet: &str) -> u64 {
    let second = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok();
    softnet.lines().filter_map(second).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_column_counts() {
        let text = "0000f2a1 00000010 00000003 00000000\n00001000 00000001 00000000 00000000\n";
        assert_eq!(dropped(text), 17);
        assert_eq!(dropped("x\n\n1 g"), 0);
    }
}
