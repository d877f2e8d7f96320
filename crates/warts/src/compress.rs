//! Compressed files: gzip, bzip2 and xz, told by how they begin.

use std::io::{self, Chain, Cursor, Read, Write};

use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzReader, XzWriter};

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// By how a file begins: six octets are enough.
    pub fn of_beginning(octets: &[u8]) -> Self {
        match octets {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// By the end of a file's name: `.gz`, `.bz2`, `.xz`.
    pub fn of_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase()).as_deref() {
            Some("gz") => Self::Gzip,
            Some("bz2") => Self::Bzip2,
            Some("xz") => Self::Xz,
            _ => Self::Plain,
        }
    }
}

/// How much memory unpacking xz may take, in KiB: twice what its highest preset needs.
const XZ_KIB: u32 = 128 << 10;

type Source<R> = Chain<Cursor<Vec<u8>>, R>;

/// A source that is unpacked as it is read, whichever way it is packed.
pub struct Unpack<R: Read>(Unpacker<R>);

enum Unpacker<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Bzip2(Box<MultiBzDecoder<Source<R>>>),
    Xz(Box<XzReader<Source<R>>>),
}

impl<R: Read> Unpack<R> {
    /// Reads the first octets of a source to see how it is packed.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut beginning = Vec::new();
        source.by_ref().take(6).read_to_end(&mut beginning)?;
        let compression = Compression::of_beginning(&beginning);
        let source = Cursor::new(beginning).chain(source);
        Ok(Self(match compression {
            Compression::Plain => Unpacker::Plain(source),
            Compression::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Bzip2 => Unpacker::Bzip2(Box::new(MultiBzDecoder::new(source))),
            Compression::Xz => Unpacker::Xz(Box::new(XzReader::new_mem_limit(source, true, XZ_KIB))),
        }))
    }

    /// How it is packed.
    pub fn compression(&self) -> Compression {
        match &self.0 {
            Unpacker::Plain(_) => Compression::Plain,
            Unpacker::Gzip(_) => Compression::Gzip,
            Unpacker::Bzip2(_) => Compression::Bzip2,
            Unpacker::Xz(_) => Compression::Xz,
        }
    }
}

impl<R: Read> Read for Unpack<R> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Unpacker::Plain(source) => source.read(octets),
            Unpacker::Gzip(source) => source.read(octets),
            Unpacker::Bzip2(source) => source.read(octets),
            Unpacker::Xz(source) => source.read(octets),
        }
    }
}

impl<R: Read> std::fmt::Debug for Unpack<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unpack").field(&self.compression()).finish()
    }
}

/// A destination that is packed as it is written. It must be ended with [`Pack::finish`].
pub struct Pack<W: Write>(Packer<W>);

enum Packer<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
    Bzip2(Box<BzEncoder<W>>),
    Xz(Box<XzWriter<W>>),
}

impl<W: Write> Pack<W> {
    /// Packs in this way.
    pub fn new(destination: W, compression: Compression) -> io::Result<Self> {
        Ok(Self(match compression {
            Compression::Plain => Packer::Plain(destination),
            Compression::Gzip => {
                Packer::Gzip(Box::new(GzEncoder::new(destination, flate2::Compression::default())))
            }
            Compression::Bzip2 => {
                Packer::Bzip2(Box::new(BzEncoder::new(destination, bzip2::Compression::best())))
            }
            Compression::Xz => Packer::Xz(Box::new(XzWriter::new(destination, XzOptions::with_preset(6))?)),
        }))
    }

    /// Writes what is left, and gives the destination back.
    pub fn finish(self) -> io::Result<W> {
        let mut destination = match self.0 {
            Packer::Plain(destination) => destination,
            Packer::Gzip(packer) => packer.finish()?,
            Packer::Bzip2(packer) => packer.finish()?,
            Packer::Xz(packer) => packer.finish()?,
        };
        destination.flush()?;
        Ok(destination)
    }
}

impl<W: Write> Write for Pack<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Packer::Plain(destination) => destination.write(octets),
            Packer::Gzip(packer) => packer.write(octets),
            Packer::Bzip2(packer) => packer.write(octets),
            Packer::Xz(packer) => packer.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Packer::Plain(destination) => destination.flush(),
            Packer::Gzip(packer) => packer.flush(),
            Packer::Bzip2(packer) => packer.flush(),
            Packer::Xz(packer) => packer.flush(),
        }
    }
}

impl<W: Write> std::fmt::Debug for Pack<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pack").finish_non_exhaustive()
    }
}
