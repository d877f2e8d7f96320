//! What a world runs on: network namespaces where the system gives them, else this program; and why.
//!
//! Begin at [`choose`], which must be called before the process has threads: it tries.

use clap::ValueEnum;
use mmn_lab::able::{self, Able, Obstacle};

use crate::failure::Failure;

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wish {
    // Namespaces where they are to be had and the vantage points are not too many, else in-process.
    #[default]
    Auto,
    // A network namespace for each vantage point: real sockets, real programs.
    Namespaces,
    // All within the node's process: stamps are exact, and there are no sockets.
    InProcess,
}

/// What a world runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Namespaces,
    InProcess,
}

impl Driver {
    /// Its name, as one asks for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::InProcess => "in-process",
        }
    }
}

/// A driver, and why it is that one.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) driver: Driver,
    /// In a sentence.
    pub(crate) why: String,
    /// What stands in the way of the other.
    pub(crate) obstacle: Option<Obstacle>,
    /// Whether the other may be taken where this one fails after all.
    pub(crate) may_fall_back: bool,
}

/// The most vantage points for which namespaces are taken unasked. Each is a network in the kernel (some 0.4 MB), and has
/// twenty descriptors, four connections and three modules in the node's process.
pub(crate) const MOST_IN_NAMESPACES: usize = 200;

/// Chooses a driver for so many vantage points. Each step that it takes is tried, in a process of its own: this one must
/// have one thread.
pub(crate) fn choose(wish: Wish, vps: usize) -> Result<Chosen, Obstacle> {
    let chosen =
        |driver, why: String, obstacle| Chosen { driver, why, obstacle, may_fall_back: wish == Wish::Auto };
    let in_process = |why, obstacle| Ok(chosen(Driver::InProcess, why, obstacle));
    match wish {
        Wish::InProcess => return in_process("as asked".to_owned(), None),
        Wish::Auto if vps > MOST_IN_NAMESPACES => {
            return in_process(
                format!(
                    "more than {MOST_IN_NAMESPACES} vantage points; --lab-driver namespaces takes namespaces all the same"
                ),
                None,
            );
        }
        Wish::Auto | Wish::Namespaces => {}
    }
    match able::check() {
        Ok(able) => Ok(chosen(Driver::Namespaces, because(able).to_owned(), None)),
        Err(obstacle) if wish == Wish::Namespaces => Err(obstacle),
        Err(obstacle) => in_process(obstacle.to_string(), Some(obstacle)),
    }
}

/// Why namespaces are to be had.
pub(crate) const fn because(able: Able) -> &'static str {
    if able.user_namespace {
        "this user may make network namespaces in a user namespace"
    } else {
        "root may make network namespaces"
    }
}

impl Chosen {
    /// Why it is that, and what would mend it, in a line.
    pub(crate) fn words(&self) -> String {
        let cures = self.obstacle.as_ref().map(|obstacle| obstacle.cures.join("; or: "));
        cures.map_or_else(|| self.why.clone(), |cures| format!("{}; mend it with: {cures}", self.why))
    }

    /// In-process, since namespaces were to be had and did not start.
    pub(crate) fn after(failure: &Failure) -> Self {
        Self {
            driver: Driver::InProcess,
            why: format!("namespaces did not start: {}", failure.text),
            obstacle: None,
            may_fall_back: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_vantage_points_run_in_the_process_unless_it_is_asked_otherwise() {
        let chosen = choose(Wish::Auto, MOST_IN_NAMESPACES + 1).unwrap();
        assert_eq!(chosen.driver, Driver::InProcess);
        assert!(chosen.why.contains("--lab-driver namespaces"), "{}", chosen.why);
        assert_eq!(choose(Wish::InProcess, 1).unwrap().driver, Driver::InProcess);
        let other = Chosen::after(&Failure::new("no room"));
        assert_eq!(
            (other.driver, other.why.as_str()),
            (Driver::InProcess, "namespaces did not start: no room")
        );
    }
}
