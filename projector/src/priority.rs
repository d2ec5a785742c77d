//! The priority of threads whose work waits for that of others.

/// How much nicer than others a thread is whose work nobody waits for, as of setpriority(2).
pub(crate) const BACKGROUND: i32 = 19;
/// How much nicer one is whose work takes long anyway: a tenth of another's share where all are busy.
pub(crate) const LONG: i32 = 10;

/// Lowers the priority of the calling thread, and of those that it starts: it takes what others leave of the machine.
pub(crate) fn lower(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::debug!(error = %error, "a thread runs at the priority of the others: {error}");
    }
}
