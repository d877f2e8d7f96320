//! The sizes of the streams: as asked, or as much of it as the server has room for.
//!
//! JetStream reserves a stream's `max_bytes` when the stream is made, whether or not anything is in it. The
//! configuration's sizes are therefore upper bounds. An account with a limit says how much is left. A server without
//! one says only yes or no: it is asked for less and less, and then for a little more.
//!
//! A stream keeps its size until the configuration asks for another. What it asked for last is in the stream's metadata.
//! Begin at [`make`]; one anchor at a time may be in it.

use async_nats::jetstream::account::Account;
use async_nats::jetstream::stream;
use mmn_bus::connect::Bus;
use mmn_bus::jetstream::EnsureError;
use mmn_bus::server::{MINIMUM, Version};

/// With less than this in bytes a stream is not made, unless less is asked for.
pub(crate) const FLOOR: u64 = 64 << 20;
/// The key, in a stream's metadata, of the bytes that the configuration asked for.
const ASKED: &str = "mmn-asked-bytes";
/// Steps by which a size that fits is improved, each half of the one before.
const REFINE: u32 = 3;
/// What is missing is told to this many bytes.
const GRAIN: u64 = 1 << 20;

/// How many bytes the streams may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) ledger: u64,
    pub(crate) results: u64,
}

/// Why the streams are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    #[error(
        "LEDGER and RES need {} and the server has room for {}: {} are missing; raise max_file of nats-server's \
         JetStream or the account's limit, or make room on the disk and start `mmn up` again",
        mib(*.needed), mib(*.room), mib(.needed.saturating_sub(*.room))
    )]
    TooLittle {
        /// The bytes of the smallest streams that will do.
        needed: u64,
        /// The bytes that can be had.
        room: u64,
    },
    #[error(transparent)]
    Stream(#[from] EnsureError),
}

/// Makes LEDGER and RES, or brings them to what the configurations ask, in sizes that fit.
pub(crate) async fn make(
    bus: &Bus,
    ledger: stream::Config,
    results: stream::Config,
) -> Result<Sizes, RoomError> {
    let (ledger, results) = (Wanted::find(bus, ledger).await?, Wanted::find(bus, results).await?);
    let whole = ledger.has.is_some() && results.has.is_some();
    let pair = Pair { ledger: ledger.range(whole), results: results.range(whole) };
    let wanted = Both { bus, ledger, results };
    let asked = pair.high();
    let (room, sizes) = match wanted.known_room().await {
        Some(room) if room < pair.low().sum() => {
            return Err(RoomError::TooLittle { needed: pair.low().sum(), room });
        }
        Some(room) => (room, pair.split(room)),
        None => (asked.sum().saturating_mul(2), asked),
    };
    let sizes = if wanted.apply(sizes).await? { sizes } else { wanted.shrink(&pair, room).await? };
    tracing::info!(
        ledger = mib(sizes.ledger),
        results = mib(sizes.results),
        smaller_than_asked = sizes != asked,
        "the sizes of the streams"
    );
    Ok(sizes)
}

/// A stream as it is to be, and as it is.
#[derive(Debug)]
struct Wanted {
    config: stream::Config,
    has: Option<Has>,
}

#[derive(Debug, Clone, Copy)]
struct Has {
    /// Absent: without a bound.
    max_bytes: Option<u64>,
    bytes: u64,
    /// What a configuration asked for when it got its size.
    asked: Option<u64>,
}

/// The least and the most bytes that a stream may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    low: u64,
    high: u64,
}

impl Wanted {
    async fn find(bus: &Bus, config: stream::Config) -> Result<Self, EnsureError> {
        let found = bus.find_stream(&config.name).await?;
        let has = found.map(|info| Has {
            max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|&bytes| bytes > 0),
            bytes: info.state.bytes,
            asked: info.config.metadata.get(ASKED).and_then(|asked| asked.parse().ok()),
        });
        Ok(Self { config, has })
    }

    fn asked(&self) -> u64 {
        u64::try_from(self.config.max_bytes).unwrap_or_default()
    }

    /// `whole`: both streams are there, so that their sizes were found to fit together.
    fn range(&self, whole: bool) -> Range {
        let asked = self.asked();
        let floor = FLOOR.min(asked);
        let kept = |bytes| Range { low: bytes, high: bytes };
        let Some(has) = self.has else { return Range { low: floor, high: asked } };
        let Some(size) = has.max_bytes else {
            return Range { low: floor.max(has.bytes), high: asked.max(has.bytes) };
        };
        if whole && has.asked.unwrap_or(size) == asked {
            return kept(size);
        }
        match size {
            _ if asked < has.bytes => {
                let stream = &self.config.name;
                tracing::warn!(
                    stream,
                    asked,
                    bytes = has.bytes,
                    "holds more than is asked and keeps its size"
                );
                kept(size)
            }
            // Nothing is lost with what is empty.
            _ if has.bytes == 0 => Range { low: floor.min(size), high: asked },
            size if asked < size => kept(asked),
            size => Range { low: size, high: asked },
        }
    }

    /// The same with a size. Metadata came with servers that are all newer than the oldest supported.
    fn sized(&self, bytes: u64, metadata: bool) -> stream::Config {
        let mut config = self.config.clone();
        config.max_bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if metadata {
            let unshrinkable = self.has.filter(|has| self.asked() < has.bytes);
            let asked = match unshrinkable {
                // It is looked at again at each start.
                Some(has) => has.asked.or(has.max_bytes).unwrap_or(bytes),
                None => self.asked(),
            };
            config.metadata.insert(ASKED.to_owned(), asked.to_string());
        }
        config
    }

    fn size(&self) -> u64 {
        self.has.and_then(|has| has.max_bytes).unwrap_or_default()
    }
}

/// The bounds of both.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ledger: Range,
    results: Range,
}

impl Pair {
    fn low(&self) -> Sizes {
        Sizes { ledger: self.ledger.low, results: self.results.low }
    }

    fn high(&self) -> Sizes {
        Sizes { ledger: self.ledger.high, results: self.results.high }
    }

    /// What each gets of `room` bytes: at most three quarters for the results, about a fifth for the ledger, and a
    /// sixteenth for nobody, within their bounds.
    fn split(&self, room: u64) -> Sizes {
        let usable = room - room / 16;
        let clamp = |bytes: u64, range: Range| bytes.min(range.high).max(range.low);
        let ledger = clamp((room / 5).max(usable.saturating_sub(self.results.high)), self.ledger);
        let results = clamp((room / 4 * 3).min(usable.saturating_sub(ledger)), self.results);
        Sizes { ledger, results }
    }
}

impl Sizes {
    fn sum(self) -> u64 {
        self.ledger.saturating_add(self.results)
    }
}

/// Both streams on their server.
#[derive(Debug)]
struct Both<'a> {
    bus: &'a Bus,
    ledger: Wanted,
    results: Wanted,
}

impl Both<'_> {
    /// The bytes that the account has left for both, when it has a limit and the server tells.
    async fn known_room(&self) -> Option<u64> {
        if !self.is_supported() {
            return None;
        }
        let account = self.bus.jetstream().query_account().await.ok()?;
        let replicas = self.ledger.config.num_replicas.max(1) as u64;
        let left = left(&account)? / replicas;
        Some(left.saturating_add(self.ledger.size()).saturating_add(self.results.size()))
    }

    /// An older server's answers can't be read in full, and it knows no metadata.
    fn is_supported(&self) -> bool {
        let version = self.bus.client().server_info().version;
        version.parse::<Version>().is_ok_and(|version| version >= MINIMUM)
    }

    /// Whether the streams could be brought to these sizes.
    async fn apply(&self, sizes: Sizes) -> Result<bool, EnsureError> {
        let metadata = self.is_supported();
        for config in [self.ledger.sized(sizes.ledger, metadata), self.results.sized(sizes.results, metadata)]
        {
            match self.bus.ensure_stream(&config).await {
                Ok(()) => {}
                Err(error) if error.is_for_want_of_room() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The sizes that fit when those of `room` bytes don't.
    async fn shrink(&self, pair: &Pair, mut room: u64) -> Result<Sizes, RoomError> {
        let mut tried = pair.split(room);
        loop {
            room /= 2;
            let sizes = pair.split(room);
            if sizes != tried && self.apply(sizes).await? {
                break;
            }
            tried = sizes;
            if sizes == pair.low() {
                let needed = sizes.sum();
                return Err(RoomError::TooLittle { needed, room: self.measure(needed).await? });
            }
        }
        let (mut fits, mut step, mut fitted) = (room, room, true);
        for _ in 0..REFINE {
            step /= 2;
            fitted = self.apply(pair.split(fits + step)).await?;
            if fitted {
                fits += step;
            }
        }
        let sizes = pair.split(fits);
        if !fitted && !self.apply(sizes).await? {
            let needed = pair.low().sum();
            return Err(RoomError::TooLittle { needed, room: self.measure(needed).await? });
        }
        Ok(sizes)
    }

    /// How many bytes both streams could have, when that is less than `needed`: a stream that is made and removed
    /// again tells.
    async fn measure(&self, needed: u64) -> Result<u64, EnsureError> {
        let mut has = 0;
        for wanted in [&self.ledger, &self.results] {
            let found = self.bus.find_stream(&wanted.config.name).await?;
            has += found.map_or(0, |info| u64::try_from(info.config.max_bytes).unwrap_or_default());
        }
        let name = format!("{}_ROOM", self.ledger.config.name);
        let probe = |bytes: u64| stream::Config {
            subjects: vec![format!("_room.{name}")],
            name: name.clone(),
            max_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            num_replicas: self.ledger.config.num_replicas,
            ..stream::Config::default()
        };
        let (mut fits, mut fails) = (0, needed.saturating_sub(has));
        while fails - fits > GRAIN {
            let middle = fits.midpoint(fails);
            match self.bus.ensure_stream(&probe(middle)).await {
                Ok(()) => fits = middle,
                Err(error) if error.is_for_want_of_room() => fails = middle,
                Err(error) => return Err(error),
            }
        }
        if self.bus.jetstream().delete_stream(&name).await.is_err() && fits > 0 {
            tracing::warn!(stream = name, "was made to measure the room and could not be removed");
        }
        Ok(has + fits)
    }
}

/// What an account's limit leaves. Nothing when it has none, or several by replicas.
fn left(account: &Account) -> Option<u64> {
    if !account.tiers.is_empty() {
        return None;
    }
    let most = u64::try_from(account.limits.max_storage?).ok()?;
    Some(most.saturating_sub(account.reserved_storage.max(account.storage)))
}

fn mib(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn pair() -> Pair {
        Pair { ledger: Range { low: FLOOR, high: 4 * GIB }, results: Range { low: FLOOR, high: 16 * GIB } }
    }

    fn wanted(asked: u64, has: Option<(u64, u64, Option<u64>)>) -> Wanted {
        let config = stream::Config { max_bytes: i64::try_from(asked).unwrap(), ..stream::Config::default() };
        let has = has.map(|(size, bytes, asked)| Has { max_bytes: Some(size), bytes, asked });
        Wanted { config, has }
    }

    #[test]
    fn what_is_asked_is_given_where_there_is_room() {
        assert_eq!(pair().split(100 * GIB), pair().high());
        let most = Range { low: FLOOR, high: 256 * MIB };
        let even = Pair { ledger: most, results: most };
        assert_eq!(even.split(GIB), even.high());
    }

    #[test]
    fn a_share_never_exceeds_the_room_nor_its_bounds() {
        for room in (128..20_000).map(|mib| mib * MIB) {
            let sizes = pair().split(room);
            assert!(sizes.sum() <= room, "{room}: {sizes:?}");
            assert!(sizes.results <= (room / 4 * 3).max(FLOOR), "{room}: {sizes:?}");
            assert!(sizes.ledger >= FLOOR && sizes.results >= FLOOR, "{room}: {sizes:?}");
        }
    }

    #[test]
    fn a_stream_keeps_its_size_until_another_is_asked_for() {
        let range = |asked, has, whole| {
            let range = wanted(asked, has).range(whole);
            (range.low / MIB, range.high / MIB)
        };
        assert_eq!(range(GIB, None, false), (64, 1024));
        assert_eq!(range(MIB, None, false), (1, 1), "who asks for less gets it");
        let settled = Some((100 * MIB, MIB, Some(GIB)));
        assert_eq!(range(GIB, settled, true), (100, 100));
        assert_eq!(range(2 * GIB, settled, true), (100, 2048));
        assert_eq!(range(80 * MIB, settled, true), (80, 80));
        assert_eq!(range(MIB / 2, settled, true), (100, 100), "it holds more");
        assert_eq!(
            range(GIB, Some((GIB, MIB, None)), true),
            (1024, 1024),
            "made before sizes were negotiated"
        );
        let empty = Some((100 * MIB, 0, Some(GIB)));
        assert_eq!(range(GIB, empty, false), (64, 1024), "its fellow was not made");
    }

    #[test]
    fn an_account_without_a_limit_tells_nothing() {
        let mut account = Account::default();
        assert_eq!(left(&account), None);
        account.limits.max_storage = Some(1000);
        account.reserved_storage = 400;
        assert_eq!(left(&account), Some(600));
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = RoomError::TooLittle { needed: 128 * MIB, room: 20 * MIB };
        assert!(error.to_string().contains("need 128.0 MiB and the server has room for 20.0 MiB: 108.0 MiB"));
    }
}
