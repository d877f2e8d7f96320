//! Reading a `ClientHello` (RFC 8446, section 4.1.2), and the inner one of an outer one (RFC 9849, section 5.1): what a
//! server does with ECH, written apart from what the measurements use.

use std::ops::Range;

/// `encrypted_client_hello`.
pub(super) const ECH: u16 = 0xfe0d;
/// `ech_outer_extensions`.
const OUTER_EXTENSIONS: u16 = 0xfd00;
const SERVER_NAME: u16 = 0;

/// The parts of a `ClientHello`.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    /// Version and random.
    head: Vec<u8>,
    session_id: Vec<u8>,
    /// Cipher suites and compression methods, with their lengths.
    offers: Vec<u8>,
    /// Types and contents.
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
    /// How many bytes it has; padding may follow.
    bytes: usize,
}

/// Goes through bytes and knows where it is.
struct Reader<'a>(&'a [u8], usize);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let taken = &self.0[self.1..self.1 + bytes];
        self.1 += bytes;
        taken
    }

    /// A length of so many bytes, and what it announces.
    fn prefixed(&mut self, width: usize) -> &'a [u8] {
        let length = self.take(width).iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Hello {
    /// Of the body of a handshake message.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut reader = Reader(body, 0);
        let head = reader.take(34).to_vec();
        let session_id = reader.prefixed(1).to_vec();
        let from = reader.1;
        reader.prefixed(2);
        reader.prefixed(1);
        let offers = body[from..reader.1].to_vec();
        let mut list = Reader(reader.prefixed(2), 0);
        let mut extensions = Vec::new();
        while list.1 < list.0.len() {
            extensions.push((list.u16(), list.prefixed(2).to_vec()));
        }
        Self { head, session_id, offers, extensions, bytes: reader.1 }
    }

    pub(super) fn random(&self) -> &[u8] {
        &self.head[2..]
    }

    pub(super) fn extension(&self, kind: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|(other, _)| *other == kind).map(|(_, contents)| &contents[..])
    }

    /// The name that it asks for.
    pub(super) fn name(&self) -> Option<String> {
        let mut list = Reader(self.extension(SERVER_NAME)?, 3);
        Some(String::from_utf8(list.prefixed(2).to_vec()).unwrap())
    }

    /// The inner hello that decryption gave, completed from this outer one.
    pub(super) fn complete(&self, encoded: &[u8]) -> Self {
        let mut inner = Self::read(encoded);
        assert!(inner.session_id.is_empty(), "it is the outer one's");
        assert!(encoded[inner.bytes..].iter().all(|byte| *byte == 0), "only zeros pad");
        assert_eq!(inner.extension(ECH), Some(&[1][..]), "it says that it is the inner one");
        inner.session_id.clone_from(&self.session_id);
        let compressed = inner.extensions;
        inner.extensions = Vec::new();
        for (kind, contents) in compressed {
            if kind != OUTER_EXTENSIONS {
                inner.extensions.push((kind, contents));
                continue;
            }
            let mut kinds = Reader(&contents, 1);
            let mut from = self.extensions.iter();
            while kinds.1 < contents.len() {
                let wanted = kinds.u16();
                inner.extensions.push(from.find(|(kind, _)| *kind == wanted).unwrap().clone());
            }
        }
        inner
    }

    /// The handshake message.
    pub(super) fn message(&self) -> Vec<u8> {
        let extension =
            |(kind, contents): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &prefixed(contents)].concat();
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let session_id = [&[u8::try_from(self.session_id.len()).unwrap()], &self.session_id[..]].concat();
        let body = [&self.head[..], &session_id, &self.offers, &prefixed(&extensions)].concat();
        [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat()
    }
}

/// The extension of an outer hello (section 5).
pub(super) struct Offered {
    pub(super) aead: u16,
    pub(super) encapsulated: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// The hello with zeros for the payload, which is authenticated with it.
    pub(super) outside: Vec<u8>,
}

impl Offered {
    /// Of the body of the outer hello's message.
    pub(super) fn read(body: &[u8]) -> Self {
        let hello = Hello::read(body);
        let contents = hello.extension(ECH).expect("ECH is offered");
        let mut reader = Reader(contents, 0);
        assert_eq!(reader.take(1), [0], "it is the outer one");
        assert_eq!(reader.u16(), 1, "HKDF-SHA256");
        let aead = reader.u16();
        let _config_id = reader.take(1);
        let encapsulated = reader.prefixed(2).to_vec();
        let payload = reader.prefixed(2).to_vec();
        let mut outside = body.to_vec();
        outside[place(body, &payload)].fill(0);
        Self { aead, encapsulated, payload, outside }
    }
}

fn place(body: &[u8], part: &[u8]) -> Range<usize> {
    let at = body.windows(part.len()).position(|window| window == part).unwrap();
    at..at + part.len()
}
