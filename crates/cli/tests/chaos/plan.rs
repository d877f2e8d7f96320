//! What goes wrong in a run, and when: made of the seed and of nothing else.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The run begins with its load; faults begin within so many milliseconds.
pub(crate) const WINDOW_MS: u64 = 3000;
/// The most time that anything stays broken.
const LONGEST_MS: u64 = 2000;
const FEWEST: usize = 5;
const MOST: usize = 9;

/// All that goes wrong, in the order of its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at_ms: u64,
    pub(crate) whom: Whom,
    pub(crate) what: What,
    pub(crate) for_ms: u64,
}

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    Server,
    /// The anchor that is active then.
    Active,
    /// The other one.
    Standby,
    /// The node of a vantage point; its modules die with it.
    Node(usize),
    /// An instance of a module, by its place among those of the vantage point that run then.
    Module(usize, usize),
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// SIGKILL, and started again after a while; a module is started again by its node.
    Kill,
    /// SIGTERM, its end, and started again after a while.
    Term,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// Its connections to NATS are closed and no new one comes about for a while.
    Drop,
    /// Nothing passes on its connections to NATS for a while.
    Hold,
    /// It is told to drain and start again (a module).
    Restart,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(FEWEST..=MOST);
        let mut faults: Vec<Fault> = Vec::new();
        while faults.len() < count {
            let at_ms = match faults.last() {
                // Several at once.
                Some(last) if random.random_range(0..4) == 0 => last.at_ms,
                _ => random.random_range(0..WINDOW_MS),
            };
            let whom = whom(&mut random);
            let what = what(&mut random, whom);
            let for_ms = match random.random_range(0..3) {
                0 => 0,
                1 => random.random_range(0..300),
                _ => random.random_range(300..LONGEST_MS),
            };
            let fault = Fault { at_ms, whom, what, for_ms };
            // One process suffers one thing at a time; which anchor is active is not known here.
            if !faults.iter().any(|other| other.overlaps(&fault)) {
                faults.push(fault);
            }
        }
        faults.sort_by_key(|fault| fault.at_ms);
        Self { seed, faults }
    }
}

fn whom(random: &mut StdRng) -> Whom {
    match random.random_range(0..10) {
        0 | 1 => Whom::Server,
        2 | 3 => Whom::Active,
        4 => Whom::Standby,
        5 | 6 => Whom::Node(random.random_range(0..2)),
        _ => Whom::Module(random.random_range(0..2), random.random_range(0..2)),
    }
}

fn what(random: &mut StdRng, whom: Whom) -> What {
    let choices: &[What] = match whom {
        Whom::Server => &[What::Kill, What::Kill, What::Term, What::Stop],
        Whom::Active | Whom::Standby | Whom::Node(_) => {
            &[What::Kill, What::Term, What::Stop, What::Drop, What::Hold]
        }
        Whom::Module(..) => &[What::Kill, What::Kill, What::Stop, What::Restart],
    };
    choices[random.random_range(0..choices.len())]
}

impl Fault {
    fn overlaps(&self, other: &Self) -> bool {
        let same = self.whom == other.whom
            || matches!((self.whom, other.whom), (Whom::Module(a, _), Whom::Node(b)) | (Whom::Node(a), Whom::Module(b, _)) if a == b);
        same && self.at_ms <= other.at_ms + other.for_ms && other.at_ms <= self.at_ms + self.for_ms
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan of seed {}:", self.seed)?;
        for Fault { at_ms, whom, what, for_ms } in &self.faults {
            writeln!(f, "  {at_ms:>5} ms  {what:?} {whom:?} for {for_ms} ms")?;
        }
        Ok(())
    }
}
