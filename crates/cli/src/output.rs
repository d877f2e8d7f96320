//! Files that a command writes: they appear whole, under their name, or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file that is not there yet. It gets its name with [`Whole::keep`]; dropped before, it is gone.
#[derive(Debug)]
pub(crate) struct Whole {
    path: PathBuf,
    unfinished: NamedTempFile,
}

impl Whole {
    /// Begins a file of this name, in the same folder.
    pub(crate) fn begin(path: &Path) -> Result<Self, Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = tempfile::Builder::new().prefix(".mmn-unfinished-").tempfile_in(folder);
        let unfinished = unfinished.map_err(|error| of_path(path, &error))?;
        Ok(Self { path: path.to_owned(), unfinished })
    }

    /// Where to write.
    pub(crate) fn file(&self) -> Result<File, Failure> {
        self.unfinished.as_file().try_clone().map_err(|error| of_path(&self.path, &error))
    }

    /// Gives it its name, in place of what has it.
    pub(crate) fn keep(self) -> Result<(), Failure> {
        let kept = self.unfinished.persist(&self.path).map_err(|error| of_path(&self.path, &error.error))?;
        readable(&kept).map_err(|error| of_path(&self.path, &error))
    }
}

fn of_path(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// A temporary file is its owner's alone; what it becomes is as readable as other files of the user.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    file.set_permissions(std::fs::Permissions::from_mode(0o666 & !mask.bits()))
}
