//! The priority of threads whose work nobody waits for.

/// How much nicer than others such a thread is, as of setpriority(2).
const NICENESS: i32 = 19;

/// Lowers the priority of the calling thread, and of those that it starts: it takes what others leave of the machine.
pub(crate) fn lower() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(error = %error, "work in the background runs at the priority of the other: {error}");
    }
}
