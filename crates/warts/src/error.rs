//! What can go wrong.

use std::io;

/// Why a record, or the file from there on, could not be read. Offsets are in bytes of the file, unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed. Nothing more is read.
    #[error("at offset {offset}")]
    Io {
        /// Where the record begins that was being read.
        offset: u64,
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// No record begins here. Nothing more is read: there is no telling where the next one begins.
    #[error("at offset {offset}: no warts record begins here: {found:#06x} instead of 0x1205")]
    Magic {
        /// Where.
        offset: u64,
        /// The two octets that stand there.
        found: u16,
    },
    /// The file ends within a record.
    #[error("at offset {offset}: the file ends within a record: {wanted} octets were to come, {found} came")]
    Truncated {
        /// Where the record begins.
        offset: u64,
        /// How many octets its header, or what follows it, should have.
        wanted: u64,
        /// How many there are.
        found: u64,
    },
    /// The record is longer than the reader's limit. It was passed over.
    #[error(
        "at offset {offset}: a record of type {kind} has {length} octets, more than the limit of {limit}"
    )]
    TooLong {
        /// Where the record begins.
        offset: u64,
        /// Its type.
        kind: u16,
        /// Its length without the header.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// The record's content is not what its type promises. It was passed over.
    #[error("at offset {offset}: a record of type {kind}, {within} octets after its header")]
    Record {
        /// Where the record begins.
        offset: u64,
        /// Its type.
        kind: u16,
        /// How far into its content.
        within: usize,
        /// What is wrong there.
        #[source]
        problem: Problem,
    },
}

impl ReadError {
    /// Where in the file the record begins, in octets.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Io { offset, .. }
            | Self::Magic { offset, .. }
            | Self::Truncated { offset, .. }
            | Self::TooLong { offset, .. }
            | Self::Record { offset, .. } => *offset,
        }
    }

    /// Whether reading ends here; otherwise the next record can be read.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Magic { .. } | Self::Truncated { .. })
    }
}

/// What is wrong within a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The record, or the block of parameters, ends too early.
    #[error("{wanted} octets should follow, {left} do")]
    Short {
        /// How many octets are needed.
        wanted: usize,
        /// How many there are.
        left: usize,
    },
    /// A text has no end.
    #[error("a text without an end")]
    NoEnd,
    /// The n-th address of this record is referred to before it was given.
    #[error("address {0} of this record was not given before")]
    Address(u32),
    /// An address of the file's table is referred to that no record has given.
    #[error("address {0} of the file's table was not given before")]
    GlobalAddress(u32),
    /// A record of the file's address table is out of order.
    #[error("address record {found} where {wanted} should be")]
    AddressOrder {
        /// The number that should come.
        wanted: u8,
        /// The number that came.
        found: u8,
    },
    /// The n-th interface of this record is referred to before it was given.
    #[error("interface {0} of this record was not given before")]
    Interface(u8),
    /// A length without its data.
    #[error("a length of {0} without data")]
    NoData(usize),
    /// A part is longer or shorter than it says.
    #[error("a part that should have {wanted} octets has {found}")]
    Length {
        /// What it says.
        wanted: usize,
        /// What it has.
        found: usize,
    },
    /// A part that may stand once stands twice.
    #[error("part {0} stands twice")]
    Twice(u16),
    /// A method whose layout is not known. The reader gives such a record as one of a type that it doesn't know.
    #[error("method {0} is not known")]
    Method(u8),
    /// What is described would need far more memory than it takes in the file.
    #[error("more items than can be meant")]
    TooMuch,
}

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The destination failed.
    #[error("writing failed")]
    Io(#[from] io::Error),
    /// The format has no room: parameters have 65,535 octets together, and lists their own bounds.
    #[error("{what} of {len} is too long for the format")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        len: usize,
    },
    /// A text with a zero octet in it, which would end it.
    #[error("a text with a zero octet within")]
    ZeroInText,
}
