//! The manifest of a module: a file in `modules.d/`. Pure.

use std::collections::BTreeMap;

use mmn_schema::id::{InstanceId, KindName, is_token};
use serde::{Deserialize, Serialize};

use crate::config::Builtin;

/// A manifest. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The program and its arguments, for a module that is not part of mmn. A relative path is looked up in `PATH`.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// More arguments, behind those of the command.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// The module of this program that it runs, instead of a command.
    #[serde(default)]
    pub(crate) builtin: Option<String>,
    /// Whether a module that is not part of mmn takes the node's settings on its standard input: the site's policy and its
    /// limits, and changes of the policy. Those made with a kit of mmn do.
    #[serde(default)]
    pub(crate) settings: bool,
    /// Whether it runs at all; `false` in a manifest with a built-in's name turns that off.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// How many of it run.
    #[serde(default = "one")]
    pub(crate) instances: u32,
    /// The kinds that it offers; all of its own, when empty.
    #[serde(default)]
    pub(crate) kinds: Vec<KindName>,
    /// Tasks at a time, by kind.
    #[serde(default)]
    pub(crate) concurrency: BTreeMap<KindName, u32>,
    /// More environment. It is readable by other processes of the same user: no place for secrets.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// How long it has to finish what it holds when it is told to drain, in seconds; then it is told to end.
    #[serde(default = "ten")]
    pub(crate) drain_seconds: u64,
    /// What its processes may use.
    #[serde(default)]
    pub(crate) limits: ResourceLimits,
}

/// What each process of a module may use; the kernel enforces it (`getrlimit(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResourceLimits {
    /// Address space, in MiB.
    pub(crate) memory_mib: Option<u64>,
    /// Open files.
    pub(crate) open_files: u64,
    /// Processes and threads of the user that it runs as.
    pub(crate) processes: Option<u64>,
    /// Processor time in seconds, over the whole life of the process.
    pub(crate) cpu_seconds: Option<u64>,
    /// The largest file that it may write, in MiB.
    pub(crate) file_mib: u64,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self { memory_mib: None, open_files: 4096, processes: None, cpu_seconds: None, file_mib: 64 }
    }
}

/// The most instances of one module.
const MAX_INSTANCES: u32 = 64;

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}

const fn ten() -> u64 {
    10
}

impl Manifest {
    /// Reads a manifest's text. The error names the line.
    pub(crate) fn from_toml(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest that a module of this program has unless a file overrides it.
    pub(crate) fn of_builtin(builtin: &Builtin) -> Self {
        Self {
            command: Vec::new(),
            args: Vec::new(),
            builtin: Some(builtin.module.clone()),
            settings: true,
            enabled: true,
            instances: 1,
            kinds: builtin.kinds.iter().filter_map(|kind| kind.parse().ok()).collect(),
            concurrency: BTreeMap::new(),
            env: BTreeMap::new(),
            drain_seconds: ten(),
            limits: ResourceLimits::default(),
        }
    }

    /// Whether it is a module that is not part of mmn.
    pub(crate) const fn is_foreign(&self) -> bool {
        self.builtin.is_none()
    }

    fn check(&self) -> Result<(), String> {
        match (&self.builtin, self.command.is_empty()) {
            (None, true) if self.enabled => {
                return Err("it names neither a command nor a built-in module".to_owned());
            }
            (Some(_), false) => return Err("it names both a command and a built-in module".to_owned()),
            _ => {}
        }
        if self.command.first().is_some_and(String::is_empty) {
            return Err("command: the program's name is empty".to_owned());
        }
        let nul = |text: &String| text.contains('\0');
        if self.command.iter().chain(&self.args).any(nul) {
            return Err("command: an argument holds a NUL".to_owned());
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(format!("env: {name:?} is no name of a variable"));
        }
        if self.env.values().any(nul) {
            return Err("env: a value holds a NUL".to_owned());
        }
        if !(1..=MAX_INSTANCES).contains(&self.instances) {
            return Err(format!("instances: 1 to {MAX_INSTANCES}"));
        }
        if self.concurrency.values().any(|n| *n == 0 || *n > 100_000) {
            return Err("concurrency: 1 to 100000".to_owned());
        }
        Ok(())
    }
}

impl ResourceLimits {
    /// By the names that the launcher knows.
    pub(crate) fn rlimits(&self) -> Vec<(String, u64)> {
        let mib = |mib: u64| mib.saturating_mul(1 << 20);
        [
            // A core file would hold the module's key.
            ("core", Some(0)),
            ("as", self.memory_mib.map(mib)),
            ("nofile", Some(self.open_files)),
            ("nproc", self.processes),
            ("cpu", self.cpu_seconds),
            ("fsize", Some(mib(self.file_mib))),
        ]
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), limit?)))
        .collect()
    }
}

/// Whether a module may have this name: it is part of its instances' ids.
pub(crate) fn is_name(name: &str) -> bool {
    is_token(name) && name.len() <= 32
}

/// The id of an instance: the module's name and six characters that nobody else has.
pub(crate) fn instance_id(module: &str, random: [u8; 4]) -> Option<InstanceId> {
    let mut word = data_encoding::BASE32_NOPAD.encode(&random);
    word.make_ascii_lowercase();
    word.truncate(6);
    format!("{module}-{word}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::from_toml(
            r#"
            command = ["python3", "echo.py"]
            instances = 2
            concurrency = { echo = 4 }
            settings = true
            [limits]
            memory_mib = 256
            "#,
        )
        .unwrap();
        assert!(manifest.is_foreign() && manifest.settings);
        assert!(manifest.limits.rlimits().contains(&("as".to_owned(), 256 << 20)));
        assert!(Manifest::from_toml("enabled = false").is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("", "neither"),
            ("builtin = \"dns\"\ncommand = [\"x\"]", "both"),
            ("comand = [\"x\"]", "comand"),
            ("command = [\"\"]", "empty"),
            ("command = [\"x\"]\ninstances = 0", "instances"),
            ("command = [\"x\"]\nconcurrency = { echo = 0 }", "concurrency"),
            ("command = [\"x\"]\nkinds = [\"Bad Kind\"]", "kind"),
            ("command = [\"x\"]\nenv = { \"a=b\" = \"c\" }", "env"),
            ("command = ", "line 1"),
        ] {
            let error = Manifest::from_toml(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}", name in "\\PC{0,40}") {
            let _ = Manifest::from_toml(&text);
            assert!(!is_name(&name) || instance_id(&name, [0; 4]).is_some());
        }
    }
}
