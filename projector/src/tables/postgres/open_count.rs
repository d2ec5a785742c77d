//! Counts the open connections of all pools of a store. Each schema has pools of its own, so many schemas that are used one
//! after another would take all connections that the server has.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// The open connections of a store. Clones share it.
#[derive(Clone)]
pub(super) struct OpenCount(Arc<Inner>);

struct Inner {
    open: AtomicUsize,
    /// How many may be kept for later use.
    kept_max: usize,
    /// Changes with each connection that is opened beyond that.
    grown: watch::Sender<()>,
}

/// An open connection; it is counted until this is dropped.
pub(super) struct Counted(OpenCount);

impl OpenCount {
    /// None yet.
    pub(super) fn new(kept_max: usize) -> Self {
        Self(Arc::new(Inner { open: AtomicUsize::new(0), kept_max, grown: watch::Sender::new(()) }))
    }

    /// Counts a connection that was opened.
    pub(super) fn add(&self) -> Counted {
        if self.0.open.fetch_add(1, Ordering::Relaxed) >= self.0.kept_max {
            self.0.grown.send_replace(());
        }
        Counted(self.clone())
    }

    /// Changes whenever there are more than may be kept.
    pub(super) fn grown(&self) -> watch::Receiver<()> {
        self.0.grown.subscribe()
    }

    /// How many there are beyond those that may be kept.
    pub(super) fn surplus(&self) -> usize {
        self.0.open.load(Ordering::Relaxed).saturating_sub(self.0.kept_max)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_beyond_those_that_may_be_kept_are_news() {
        let open_count = OpenCount::new(2);
        let mut grown = open_count.grown();
        let mut has_grown = || {
            let has_changed = grown.has_changed();
            grown.mark_unchanged();
            has_changed.is_ok_and(|changed| changed)
        };
        let (_one, two) = (open_count.add(), open_count.add());
        assert!(!has_grown());
        let three = open_count.add();
        assert!(has_grown() && open_count.surplus() == 1);
        drop((two, three));
        let _two = open_count.add();
        assert!(!has_grown() && open_count.surplus() == 0, "closed connections are counted");
        let _three = open_count.add();
        assert!(has_grown());
    }
}
