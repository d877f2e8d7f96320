//! The one place where the tests read a clock: the runtime's, which is stopped.

use std::cell::Cell;
use std::future::Future;

use tokio::time::Instant;

/// When every test begins: 2026-11-22T00:00:00Z.
pub(crate) const EPOCH_NS: i64 = 1_795_305_600_000_000_000;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs a test on a runtime of its own, its clock stopped.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads starts");
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        START.set(Some(now()));
        test.await
    }))
}

/// Nanoseconds since the test began.
pub(super) fn elapsed_ns() -> u64 {
    let start = START.get().expect("tests run in `run`");
    u64::try_from((now() - start).as_nanos()).expect("tests are short")
}

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Instant {
    Instant::now()
}
