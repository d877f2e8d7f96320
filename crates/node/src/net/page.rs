//! The site's limits as one page of atomic words, shared by all modules of a vantage point.
//!
//! The node creates the page in a sealed memory file, passes its descriptor to each module's process, and may
//! change the limits at any time. Whoever sends asks [`Page::take`] first. Three buckets must agree: packets
//! per second and bits per second of the site, and packets per second of the target. Each is one word with the
//! arithmetic of [`mmn_probe::bucket`] over `CLOCK_MONOTONIC`, which all processes of a host share.
//!
//! The cap of a target is a word of a table at the hash of its address. Two targets that share a word share a
//! cap: a collision makes the limit stricter, never looser. The hash has a secret key, so that nobody outside
//! can choose targets that collide. The words of a block of neighbouring addresses lie together, in an order of the key.
//!
//! A process that was given the page can write to it. So only modules that may send packets get it.
#![expect(unsafe_code, reason = "memory shared between processes has no safe interface")]

use std::{
    cell::Cell,
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use mmn_probe::{
    bucket::{self, Step},
    cookie::Key,
    time::{Instant, Nanos},
};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// What a site allows. A rate of 0 allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets a second, all modules together.
    pub packets_per_s: u64,
    /// Bits a second of IP packets, all modules together.
    pub bits_per_s: u64,
    /// Packets a second to one target, all modules together.
    pub target_packets_per_s: u64,
}

impl Default for Limits {
    /// 1,000 packets and 10 Mbit a second, 100 packets a second to one target.
    fn default() -> Self {
        Self { packets_per_s: 1_000, bits_per_s: 10_000_000, target_packets_per_s: 100 }
    }
}

/// Which limit holds a packet back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Packets or bits a second of the site: it holds everybody back alike.
    Site,
    /// Packets a second of this target.
    Target,
}

/// What caps the packets to a target: targets that share one wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cap(usize);

/// A packet that may not leave yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long to wait before asking again; [`Nanos::MAX`] when the limits allow no packet at all.
    pub wait: Nanos,
    /// Whose limit it is; when several hold it, the one that does so longest.
    pub by: Limit,
}

/// What the page has counted since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were allowed to leave.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// How often a packet was told to wait.
    pub held: u64,
}

/// Why a page cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The system refused a step.
    #[error("cannot {step}")]
    System {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The descriptor is no page, or not one of this version.
    #[error("not a page of limits: {0}")]
    Foreign(&'static str),
}

/// The page, mapped into this process.
#[derive(Debug)]
pub struct Page {
    map: Map,
    fd: OwnedFd,
    key: Key,
}

impl Page {
    /// Makes a page with these limits. `seed` keys the table of targets and must be random.
    pub fn create(limits: Limits, seed: [u8; 16]) -> Result<Self, PageError> {
        let fd = memfd_create(c"mmn-limits", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(system("create a memory file"))?;
        ftruncate(&fd, BYTES as u64).map_err(system("set the size of a memory file"))?;
        fcntl_add_seals(&fd, seals()).map_err(system("seal a memory file"))?;
        let map = Map::new(&fd)?;
        let (low, high) = seed.split_at(8);
        for (index, half) in [(SEED, low), (SEED + 1, high)] {
            let word = half.first_chunk().map_or(0, |half| u64::from_ne_bytes(*half));
            map.word(index).store(word, Relaxed);
        }
        let page = Self { key: Key::new(seed), map, fd };
        page.set_limits(limits);
        page.map.word(MAGIC).store(MAGIC_WORD, Release);
        Ok(page)
    }

    /// Maps a page that another process made. The size is sealed, so that nobody can cut the memory away.
    pub fn open(fd: OwnedFd) -> Result<Self, PageError> {
        let found = fcntl_get_seals(&fd).map_err(|_| PageError::Foreign("no sealed memory file"))?;
        if !found.contains(seals()) {
            return Err(PageError::Foreign("its size is not sealed"));
        }
        let size = fstat(&fd).map_err(system("look at a memory file"))?.st_size;
        if usize::try_from(size) != Ok(BYTES) {
            return Err(PageError::Foreign("it has another size"));
        }
        let map = Map::new(&fd)?;
        if map.word(MAGIC).load(Acquire) != MAGIC_WORD {
            return Err(PageError::Foreign("it has another version"));
        }
        let halves = [SEED, SEED + 1].map(|index| map.word(index).load(Relaxed).to_ne_bytes());
        let mut seed = [0; 16];
        for (byte, stored) in seed.iter_mut().zip(halves.as_flattened()) {
            *byte = *stored;
        }
        Ok(Self { key: Key::new(seed), map, fd })
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        let load = |index| self.map.word(index).load(Relaxed);
        Limits {
            packets_per_s: load(PACKETS_PER_S),
            bits_per_s: load(BITS_PER_S),
            target_packets_per_s: load(TARGET_PACKETS_PER_S),
        }
    }

    /// Changes the limits for everybody who has the page, from the next packet on.
    pub fn set_limits(&self, limits: Limits) {
        let store = |index, value| self.map.word(index).store(value, Relaxed);
        store(PACKETS_PER_S, limits.packets_per_s);
        store(BITS_PER_S, limits.bits_per_s);
        store(TARGET_PACKETS_PER_S, limits.target_packets_per_s);
    }

    /// Asks to send `packets` to `target`, `bytes` in all with their IP headers, at `now` (the instant of
    /// `CLOCK_MONOTONIC`). Counts them as sent, or says how long to wait.
    pub fn take(&self, now: Instant, target: IpAddr, packets: u64, bytes: u64) -> Result<(), Held> {
        let limits = self.limits();
        let word = self.map.word(self.target_word(target));
        let [site_packets, site_bits] = self.site(limits, packets, bytes);
        let target = Asked::new(word, packets, limits.target_packets_per_s, Limit::Target);
        self.take_of(&[site_packets, site_bits, target], now, packets, bytes)
    }

    /// Takes of the site's limits what `most` packets of `bytes` octets each need, or as many of them as may leave now:
    /// they must be about to leave. What is not used of it is given back.
    pub fn portion(&self, now: Instant, most: u64, bytes: u64) -> Result<Portion<'_>, Held> {
        let limits = self.limits();
        let rate = limits.target_packets_per_s;
        let none = Held { wait: Nanos::MAX, by: Limit::Target };
        let outcome = Step::of(1, rate, burst(rate)).ok_or(none).and_then(|step| {
            let (count, buckets) = take_most(&self.site(limits, 1, bytes), now.0, most)?;
            Ok(Portion { page: self, now, bytes, count, used: 0, step, buckets })
        });
        if outcome.is_err() {
            self.map.word(COUNT_HELD).fetch_add(1, Relaxed);
        }
        outcome
    }

    /// The same for what goes to no target but to the site's own servers: the site's limits alone hold it.
    pub fn take_for_site(&self, now: Instant, packets: u64, bytes: u64) -> Result<(), Held> {
        self.take_of(&self.site(self.limits(), packets, bytes), now, packets, bytes)
    }

    /// What caps the packets to a target.
    pub fn cap_of(&self, target: IpAddr) -> Cap {
        Cap(self.target_word(target))
    }

    /// How far apart packets to one target are at least, in the long run; absent where none may leave.
    pub fn target_gap(&self) -> Option<Nanos> {
        1_000_000_000_u64.checked_div(self.limits().target_packets_per_s).map(Nanos)
    }

    fn site(&self, limits: Limits, packets: u64, bytes: u64) -> [Asked<'_>; 2] {
        let [site_packets, site_bits] = [SITE_PACKETS, SITE_BITS].map(|index| self.map.word(index));
        [
            Asked::new(site_packets, packets, limits.packets_per_s, Limit::Site),
            Asked::new(site_bits, bytes.saturating_mul(8), limits.bits_per_s, Limit::Site),
        ]
    }

    fn take_of<const N: usize>(
        &self,
        asked: &[Asked<'_>; N],
        now: Instant,
        packets: u64,
        bytes: u64,
    ) -> Result<(), Held> {
        let outcome = take_all(asked, now.0);
        match outcome {
            Ok(()) => {
                self.map.word(COUNT_PACKETS).fetch_add(packets, Relaxed);
                self.map.word(COUNT_BYTES).fetch_add(bytes, Relaxed);
            }
            Err(_) => {
                self.map.word(COUNT_HELD).fetch_add(1, Relaxed);
            }
        }
        outcome
    }

    /// What was counted so far, by all processes.
    pub fn counters(&self) -> Counters {
        let load = |index| self.map.word(index).load(Relaxed);
        Counters { packets: load(COUNT_PACKETS), bytes: load(COUNT_BYTES), held: load(COUNT_HELD) }
    }

    fn target_word(&self, target: IpAddr) -> usize {
        let (hash, last) = match target {
            IpAddr::V4(address) => self.place(address.octets()),
            IpAddr::V6(address) => self.place(address.octets()),
        };
        // Those of a block differ in their last bits, which the key turns differently for each block.
        let word = hash ^ u64::from(last % BLOCK);
        TARGETS + usize::try_from(word % TARGET_WORDS as u64).unwrap_or(0)
    }

    /// The hash of the block of addresses that one is in, and its last octet.
    fn place<const N: usize>(&self, mut octets: [u8; N]) -> (u64, u8) {
        let last = octets.last().copied().unwrap_or(0);
        if let Some(octet) = octets.last_mut() {
            *octet = last - last % BLOCK;
        }
        (self.key.hash(&octets), last)
    }
}

impl AsFd for Page {
    /// The descriptor to pass to a module's process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What was taken of the site's limits for packets of one size that leave now; see [`Page::portion`].
#[derive(Debug)]
pub struct Portion<'a> {
    page: &'a Page,
    now: Instant,
    bytes: u64,
    count: u64,
    used: u64,
    /// What a packet takes of its target's bucket.
    step: Step,
    /// The site's buckets.
    buckets: [Taken<'a>; 2],
}

/// What was taken of a bucket.
#[derive(Debug)]
struct Taken<'a> {
    word: &'a AtomicU64,
    before: u64,
    after: u64,
    /// What a packet takes of it, and its rate.
    cost: u64,
    rate: u64,
}

impl Portion<'_> {
    /// How many octets its packets have.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether another packet may leave.
    pub const fn has_more(&self) -> bool {
        self.used < self.count
    }

    /// Takes a packet to `target`, which its own limit may hold; of the site nothing is taken then.
    pub fn take(&mut self, target: IpAddr) -> Result<(), Held> {
        if !self.has_more() {
            return Err(Held { wait: Nanos::ZERO, by: Limit::Site });
        }
        let word = self.page.map.word(self.page.target_word(target));
        let mut state = word.load(Acquire);
        loop {
            let next = self.step.next(state, self.now.0).map_err(|wait| {
                self.page.map.word(COUNT_HELD).fetch_add(1, Relaxed);
                Held { wait, by: Limit::Target }
            })?;
            match word.compare_exchange_weak(state, next, AcqRel, Acquire) {
                Ok(_) => break,
                Err(found) => state = found,
            }
        }
        self.used += 1;
        Ok(())
    }
}

impl Drop for Portion<'_> {
    fn drop(&mut self) {
        self.page.map.word(COUNT_PACKETS).fetch_add(self.used, Relaxed);
        self.page.map.word(COUNT_BYTES).fetch_add(self.used.saturating_mul(self.bytes), Relaxed);
        if !self.has_more() {
            return;
        }
        for bucket in &self.buckets {
            bucket.keep(self.used, self.now.0);
        }
    }
}

impl Taken<'_> {
    /// Takes it, if nobody was faster.
    fn begin(&self) -> bool {
        self.word.compare_exchange(self.before, self.after, AcqRel, Acquire).is_ok()
    }

    /// Gives back what is more than `packets` took, if nobody has taken since: as [`Asked::give_back`].
    fn keep(&self, packets: u64, now_ns: u64) {
        let cost = self.cost.saturating_mul(packets);
        let kept = match packets {
            0 => Ok(self.before),
            // What is a part of what passed passes.
            _ => bucket::next_allowed(self.before, now_ns, cost, self.rate, burst(self.rate)),
        };
        if let Ok(kept) = kept {
            let _ = self.word.compare_exchange(self.after, kept, AcqRel, Acquire);
        }
    }
}

/// One bucket and what is wanted of it.
struct Asked<'a> {
    word: &'a AtomicU64,
    cost: u64,
    rate: u64,
    by: Limit,
    /// The word before and after the taking.
    taken: Cell<Option<(u64, u64)>>,
}

impl<'a> Asked<'a> {
    fn new(word: &'a AtomicU64, cost: u64, rate: u64, by: Limit) -> Self {
        Self { word, cost, rate, by, taken: Cell::new(None) }
    }

    fn next(&self, state: u64, now_ns: u64) -> Result<u64, Held> {
        bucket::next_allowed(state, now_ns, self.cost, self.rate, burst(self.rate))
            .map_err(|wait| Held { wait, by: self.by })
    }

    /// How many times it could be taken, `most` at most.
    fn most(&self, state: u64, now_ns: u64, most: u64) -> Result<u64, Held> {
        bucket::most_allowed(state, now_ns, (self.cost, most), self.rate, burst(self.rate))
            .map(|(count, _)| count)
            .map_err(|wait| Held { wait, by: self.by })
    }

    /// What taking it so many times comes to.
    fn times(&self, before: u64, now_ns: u64, count: u64) -> Result<Taken<'a>, Held> {
        let &Self { word, cost, rate, by, .. } = self;
        bucket::next_allowed(before, now_ns, cost.saturating_mul(count), rate, burst(rate))
            .map(|after| Taken { word, before, after, cost, rate })
            .map_err(|wait| Held { wait, by })
    }

    /// What the word would be before and after the taking.
    fn plan(&self, now_ns: u64) -> Result<(u64, u64), Held> {
        let state = self.word.load(Acquire);
        self.next(state, now_ns).map(|next| (state, next))
    }

    /// Takes as planned, or anew where somebody has taken meanwhile.
    fn take(&self, now_ns: u64, mut plan: (u64, u64)) -> Result<(), Held> {
        loop {
            match self.word.compare_exchange_weak(plan.0, plan.1, AcqRel, Acquire) {
                Ok(_) => {
                    self.taken.set(Some(plan));
                    return Ok(());
                }
                Err(found) => plan = (found, self.next(found, now_ns)?),
            }
        }
    }

    /// Undoes a taking, if nobody has taken since. Where somebody has, it stays taken: to subtract could let
    /// more pass than the rate, this only lets less.
    fn give_back(&self) {
        if let Some((before, after)) = self.taken.take() {
            let _ = self.word.compare_exchange(after, before, AcqRel, Acquire);
        }
    }
}

/// Takes from all buckets or, as far as one can tell, from none.
fn take_all<const N: usize>(asked: &[Asked<'_>; N], now_ns: u64) -> Result<(), Held> {
    let plans = asked.each_ref().map(|asked| asked.plan(now_ns));
    if let Some(held) = plans.iter().filter_map(|plan| plan.err()).reduce(longer) {
        return Err(held);
    }
    for (index, (one, plan)) in asked.iter().zip(plans).enumerate() {
        if let Err(held) = plan.and_then(|plan| one.take(now_ns, plan)) {
            // Somebody was faster: give back what the buckets before this one gave.
            for earlier in asked.iter().take(index) {
                earlier.give_back();
            }
            return Err(held);
        }
    }
    Ok(())
}

/// Takes from both buckets `most` times what is asked for, or as many times as both have. Gives how many.
fn take_most<'a>(
    [one, other]: &[Asked<'a>; 2],
    now_ns: u64,
    most: u64,
) -> Result<(u64, [Taken<'a>; 2]), Held> {
    loop {
        let states = (one.word.load(Acquire), other.word.load(Acquire));
        let count = match (one.most(states.0, now_ns, most), other.most(states.1, now_ns, most)) {
            (Ok(count), Ok(least)) => count.min(least),
            (Err(held), Err(longest)) => return Err(longer(held, longest)),
            (Err(held), _) | (_, Err(held)) => return Err(held),
        };
        let taken = (one.times(states.0, now_ns, count)?, other.times(states.1, now_ns, count)?);
        if taken.0.begin() {
            if taken.1.begin() {
                return Ok((count, taken.into()));
            }
            taken.0.keep(0, now_ns);
        }
    }
}

/// The longer wait and whose it is; of two equal ones, the site's.
fn longer(one: Held, other: Held) -> Held {
    if other.wait > one.wait { other } else { one }
}

/// What may go at once after a pause: a hundredth of a second's worth, and at least one unit. A packet larger
/// than that passes when the bucket is full.
fn burst(rate_per_s: u64) -> u64 {
    (rate_per_s / 100).max(1)
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

fn system(step: &'static str) -> impl FnOnce(rustix::io::Errno) -> PageError {
    move |errno| PageError::System { step, source: errno.into() }
}

// The layout, in words of 64 bits. Words that many processes write have a cache line (8 words) of their own.
const MAGIC: usize = 0;
const SEED: usize = 1; // and 2
const PACKETS_PER_S: usize = 3;
const BITS_PER_S: usize = 4;
const TARGET_PACKETS_PER_S: usize = 5;
const SITE_PACKETS: usize = 8;
const SITE_BITS: usize = 16;
const COUNT_PACKETS: usize = 24;
const COUNT_BYTES: usize = 25;
const COUNT_HELD: usize = 32;
const TARGETS: usize = 512;
/// Half a megabyte, of which only what is used takes memory.
const TARGET_WORDS: usize = 65_536;
/// Neighbouring addresses whose words lie together: who asks of one often asks of the next, and finds its word in the
/// processor's cache.
const BLOCK: u8 = 64;
const WORDS: usize = TARGETS + TARGET_WORDS;
const BYTES: usize = WORDS * size_of::<u64>();
/// "mmn page" and the version of this layout.
const MAGIC_WORD: u64 = 0x6d6d_6e70_6167_6502;

/// The mapping. Its memory is only ever used as atomic words.
#[derive(Debug)]
struct Map {
    start: NonNull<AtomicU64>,
}

// SAFETY: the mapping belongs to the value, stays where it is, and all access to it is atomic.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// The caller has made sure that the file has `BYTES` octets for ever.
    fn new(fd: &OwnedFd) -> Result<Self, PageError> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing of ours is; the file cannot shrink (sealed).
        let start = unsafe { mmap(std::ptr::null_mut(), BYTES, protection, MapFlags::SHARED, fd, 0) }
            .map_err(system("map a memory file"))?;
        let start = NonNull::new(start.cast()).ok_or(PageError::Foreign("it was mapped at no address"))?;
        Ok(Self { start })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the mapping holds `WORDS` words, is aligned to a page, and lives as long as `self`; any bits
        // are a valid word, and other processes touch it by atomic operations, too.
        let words = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), WORDS) };
        // Each index is a constant or reduced modulo the table's size.
        words.get(index).unwrap_or(&NOWHERE)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: this unmaps what `new` mapped; no reference outlives `self`. A failure leaks the mapping.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), BYTES) };
    }
}

/// What an index outside the page would stand for: a bucket that is never refilled.
static NOWHERE: AtomicU64 = AtomicU64::new(u64::MAX);

#[cfg(test)]
mod tests;
