//! The resolver's decoders for fuzzing: each takes what a stranger wrote, and panics where a promise is broken.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use super::stub::{Ask, Reply, query, reply};
use super::{resolv_conf, stub};

/// The reply of a name server to one of three queries. The first octet picks the query, the next ten are flags and
/// counts; the question is repeated as it was asked, and the rest follows it.
pub fn stub_reply(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    // The corpus was made for the first two.
    let ask = match choice {
        0xf0.. => Ask::Ptr,
        choice if choice % 2 == 0 => Ask::A,
        _ => Ask::Aaaa,
    };
    let Some(asked) = query(0x1234, "a.example", ask) else { panic!("a name was refused") };
    let _ = reply(&asked, rest);
    let _ = reply(rest, rest);
    let (Some((head, records)), Some((id, question))) =
        (rest.split_at_checked(10), asked.split_first_chunk::<2>().map(|(id, rest)| (id, rest.get(10..))))
    else {
        return;
    };
    let message = [id.as_slice(), head, question.unwrap_or_default(), records].concat();
    match reply(&asked, &message) {
        Some(Reply::Addresses(addresses)) => {
            assert!(addresses.iter().all(|address| address.is_ipv4() == (ask == Ask::A)), "{addresses:?}");
            assert!(addresses.len() * 4 <= records.len());
        }
        Some(Reply::Name(Some(name))) => {
            assert!(ask == Ask::Ptr && (1..=253).contains(&name.len()), "{name:?}");
            assert!(name.bytes().all(|octet| octet.is_ascii_graphic()), "{name:?}");
        }
        _ => {}
    }
    if let Ok(name) = std::str::from_utf8(records)
        && let Some(asked) = query(0, name, ask)
    {
        assert_eq!(stub::reply(&asked, &asked), None, "a query was taken for its reply");
    }
}

/// `/etc/resolv.conf`, and `/etc/hosts` asked for a name that stands in its first line.
pub fn resolv_conf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let conf = resolv_conf::parse(text);
    assert!((1..=3).contains(&conf.servers.len()) && conf.ndots <= 15, "{conf:?}");
    assert!((1..=30).contains(&conf.timeout.as_secs()) && (1..=5).contains(&conf.attempts), "{conf:?}");
    let name = text.split_ascii_whitespace().nth(1).unwrap_or("localhost");
    assert!(resolv_conf::in_hosts(text, name).len() <= text.lines().count());
}
