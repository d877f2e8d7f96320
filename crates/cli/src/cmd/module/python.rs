//! The manifest of a module that is a file of Python, made with `mmn.module`.

use std::env::{current_exe, var_os};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file of Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    file: PathBuf,
    /// The name that its module gets.
    pub(super) module: String,
}

impl Script {
    /// The file that a text names, where it is one of Python.
    pub(super) fn named(text: &str) -> Option<Self> {
        let file = PathBuf::from(text);
        let is_python = file.extension().is_some_and(|extension| extension == "py");
        // What a file may be called and a module may not.
        let module = file.file_stem()?.to_str()?.replace('.', "-");
        is_python.then_some(Self { file, module })
    }

    /// Its manifest. The node's settings come along: `mmn.module` keeps the site's policy and limits by them.
    pub(super) fn manifest(&self, python: Option<&Path>) -> Result<String, Failure> {
        let python = match python {
            Some(python) => python.to_owned(),
            None => interpreter(var_os("VIRTUAL_ENV").map(PathBuf::from), current_exe().ok()),
        };
        if self.file.is_relative() && !self.file.is_file() {
            return Err(Failure::misused(format!("{}: there is no such file", self.file.display())));
        }
        let words = [&python, &self.file].map(|path| path.to_str().map(str::to_owned));
        let [Some(python), Some(file)] = words else {
            return Err(Failure::misused(format!("{}: its path is no UTF-8", self.file.display())));
        };
        let mut manifest = toml::Table::new();
        manifest.insert("command".into(), vec![python, file].into());
        manifest.insert("settings".into(), true.into());
        Ok(manifest.to_string())
    }
}

/// The Python that has `mmn`, as far as one can tell: that of the active virtual environment, or of the one that this
/// program was installed into.
fn interpreter(environment: Option<PathBuf>, program: Option<PathBuf>) -> PathBuf {
    let of_environment = environment.map(|environment| environment.join("bin/python3"));
    let beside = program.and_then(|program| Some(program.parent()?.join("python3")));
    let found = of_environment.into_iter().chain(beside).find(|python| python.is_file());
    found.unwrap_or_else(|| PathBuf::from("python3"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_python_is_known_by_its_name() {
        let module = |text: &str| Script::named(text).map(|script| script.module);
        assert_eq!(module("echo.py").as_deref(), Some("echo"));
        assert_eq!(module("/opt/modules/tcp.banner.py").as_deref(), Some("tcp-banner"));
        assert_eq!((module("echo"), module("echo.toml"), module(".py")), (None, None, None));
    }

    #[test]
    fn its_manifest_names_the_python_that_has_mmn() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("echo.py");
        let script = Script::named(file.to_str().unwrap()).unwrap();
        let manifest: toml::Table = script.manifest(Some(Path::new("pypy3"))).unwrap().parse().unwrap();
        let expected: toml::Table =
            format!("command = [\"pypy3\", {:?}]\nsettings = true", file.display().to_string())
                .parse()
                .unwrap();
        assert_eq!(manifest, expected);
        let gone = Script::named("gone.py").unwrap().manifest(None).unwrap_err();
        assert!(gone.text.contains("gone.py"), "{gone:?}");

        let of = |environment: &str| dir.path().join(environment).join("bin/python3");
        for environment in ["active", "installed"] {
            std::fs::create_dir_all(of(environment).parent().unwrap()).unwrap();
            std::fs::write(of(environment), "").unwrap();
        }
        let installed = || Some(of("installed").with_file_name("mmn"));
        assert_eq!(interpreter(Some(dir.path().join("active")), installed()), of("active"));
        assert_eq!(interpreter(Some(dir.path().join("none")), installed()), of("installed"));
        assert_eq!(interpreter(None, None), Path::new("python3"));
    }
}
