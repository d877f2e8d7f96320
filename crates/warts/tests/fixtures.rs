//! Files that scamper wrote while it measured (releases 20211212 and 20260420): read, written and read again.

#![expect(clippy::unwrap_used, reason = "what is wrong here ends the test")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mmn_warts::values::{CycleId, ListId};
use mmn_warts::{Compression, Kind, Merge, Pack, ReadError, Reader, Record, Unpack, Writer};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|suffix| suffix == "warts"));
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(octets: &[u8]) -> Vec<Record> {
    Reader::new(Unpack::new(octets).unwrap()).collect::<Result<_, _>>().unwrap()
}

#[test]
fn they_are_read_whole_and_written_to_the_octet() {
    for path in files() {
        let octets = fs::read(&path).unwrap();
        let records = read(&octets);
        for record in &records {
            assert!(!matches!(record, Record::Unknown(_)), "{}: {record:?}", path.display());
            let text = format!("{record:?}");
            assert!(
                !text.contains("ids: [6") && !text.contains("trailing: [1"),
                "{}: {text}",
                path.display()
            );
        }
        let mut writer = Writer::new(Vec::new());
        for record in &records {
            writer.write(record).unwrap();
        }
        let written = writer.into_inner().unwrap();
        assert_eq!(read(&written), records, "{}", path.display());
        assert!(written == octets, "{} is not the same when written again", path.display());
    }
}

#[test]
fn they_are_read_however_they_are_packed() {
    for path in files() {
        let octets = fs::read(&path).unwrap();
        for compression in [Compression::Plain, Compression::Gzip, Compression::Bzip2, Compression::Xz] {
            let mut pack = Pack::new(Vec::new(), compression).unwrap();
            pack.write_all(&octets).unwrap();
            let packed = pack.finish().unwrap();
            let unpacked = Unpack::new(&packed[..]).unwrap();
            assert_eq!(unpacked.compression(), compression);
            assert_eq!(read(&packed), read(&octets));
            // Two packed files one after the other are both.
            let twice = [&packed[..], &packed].concat();
            assert_eq!(read(&twice).len(), 2 * read(&octets).len());
        }
    }
}

#[test]
fn several_become_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut writer = Writer::new(Vec::new());
    for name in ["ping.warts", "trace.warts"] {
        let mut merge = Merge::new();
        for record in read(&fs::read(folder.join(name)).unwrap()) {
            merge.write(record, &mut writer).unwrap();
        }
    }
    let mut records = read(&writer.into_inner().unwrap());
    let count = |kind| records.iter().filter(|record| record.kind() == kind).count();
    // Both files have the same list, and each a cycle of its own.
    assert_eq!((count(Kind::List), count(Kind::CycleStart), count(Kind::CycleStop)), (1, 2, 2));
    for record in &mut records {
        let wanted = if record.kind() == Kind::Ping { CycleId(1) } else { CycleId(2) };
        if let Some((list, cycle)) = record.membership() {
            assert_eq!((*list, *cycle), (Some(ListId(1)), Some(wanted)));
        }
    }
}

/// A file of a few octets that asks for a dictionary of 3 GiB.
#[test]
fn xz_takes_no_more_memory_than_it_may() {
    let file =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/warts_file/xz_dictionary"))
            .unwrap();
    let error = Reader::new(Unpack::new(&file[..]).unwrap()).next().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Io { offset: 0, .. }), "{error}");
}
