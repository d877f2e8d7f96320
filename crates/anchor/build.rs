//! Puts the dashboard that lies in `web/dist/site` into the library. Where there is none the library is built without:
//! Rust needs no Node. `make web` builds it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// One file of the site with its compressed forms.
#[derive(Default)]
struct File {
    plain: Option<PathBuf>,
    brotli: Option<PathBuf>,
    gzip: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("../../web/dist");
    println!("cargo:rerun-if-changed=build.rs");
    // A directory that is always there: cargo runs this again and again for one that is missing.
    println!("cargo:rerun-if-changed={}", dist.display());
    let site = dist.join("site");
    let mut files = BTreeMap::new();
    if site.is_dir() {
        collect(&site, "", &mut files)?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut taken = Taken { out: out.clone(), count: 0 };
    let mut code = String::from("&[\n");
    for (path, file) in &files {
        let Some(plain) = &file.plain else { continue };
        let mut hasher = DefaultHasher::new();
        fs::read(plain)?.hash(&mut hasher);
        let hash = hasher.finish();
        let plain = taken.bytes(plain)?;
        let (brotli, gzip) = (taken.maybe(file.brotli.as_deref())?, taken.maybe(file.gzip.as_deref())?);
        // Writing to a String does not fail.
        let _ = writeln!(
            code,
            "File {{ path: {path:?}, hash: \"{hash:016x}\", plain: {plain}, brotli: {brotli}, gzip: {gzip} }},"
        );
    }
    code.push_str("]\n");
    fs::write(out.join("site.rs"), code)
}

/// Files are copied beside the code that names them: what is built meanwhile changes nothing of it.
struct Taken {
    out: PathBuf,
    count: usize,
}

impl Taken {
    fn bytes(&mut self, path: &Path) -> io::Result<String> {
        let name = format!("site-{}", self.count);
        self.count += 1;
        fs::copy(path, self.out.join(&name))?;
        Ok(format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))"))
    }

    fn maybe(&mut self, path: Option<&Path>) -> io::Result<String> {
        path.map_or_else(|| Ok("None".to_owned()), |path| Ok(format!("Some({})", self.bytes(path)?)))
    }
}

fn collect(dir: &Path, prefix: &str, files: &mut BTreeMap<String, File>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else if let Some(of) = path.strip_suffix(".br") {
            files.entry(of.to_owned()).or_default().brotli = Some(entry.path());
        } else if let Some(of) = path.strip_suffix(".gz") {
            files.entry(of.to_owned()).or_default().gzip = Some(entry.path());
        } else {
            files.entry(path).or_default().plain = Some(entry.path());
        }
    }
    Ok(())
}
