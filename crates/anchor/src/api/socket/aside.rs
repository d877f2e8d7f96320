//! A thread beside the anchor's, for connections that ask much at a time.
//!
//! It is there once it is needed, and goes with the API. A connection's socket and the anchor stay with the anchor's
//! thread: only what is read, said and awaited moves.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The thread.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Absent where the system gave no thread.
    handle: OnceLock<Option<Handle>>,
    over: CancellationToken,
}

impl Aside {
    /// Runs `work` there; here where there is no such thread. `None`: it broke. It ends with the future that is returned.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        match self.handle.get_or_init(|| self.start()) {
            Some(handle) => AbortOnDropHandle::new(handle.spawn(work)).await.ok(),
            None => Some(work.await),
        }
    }

    fn start(&self) -> Option<Handle> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .inspect_err(|error| tracing::warn!(%error, "there is no thread for busy connections"))
            .ok()?;
        let (handle, over) = (runtime.handle().clone(), self.over.clone());
        let thread = std::thread::Builder::new().name("sockets".to_owned());
        thread
            .spawn(move || runtime.block_on(over.cancelled()))
            .inspect_err(|error| tracing::warn!(%error, "there is no thread for busy connections"))
            .ok()?;
        Some(handle)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_runs_beside_and_gives_back() {
        let aside = Aside::default();
        let here = std::thread::current().id();
        let there = aside.run(async { std::thread::current().id() }).await.unwrap();
        assert_ne!(here, there);
        assert_eq!(aside.run(async { std::thread::current().id() }).await, Some(there), "one thread for all");
        assert_eq!(aside.run(async { panic!("on purpose") }).await, None::<()>);
    }
}
