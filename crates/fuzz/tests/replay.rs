//! Replays the corpus of every target on the stable toolchain.

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_of_every_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in mmn_fuzz::TARGETS {
        let folder = corpus.join(name);
        let mut seen = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(&path).unwrap());
            seen += 1;
        }
        assert!(seen > 0, "{} is empty", folder.display());
        target(&[]);
    }
}

#[test]
fn every_corpus_has_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for entry in fs::read_dir(corpus).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(mmn_fuzz::TARGETS.iter().any(|(target, _)| *target == name), "{name:?} has no target");
    }
}
