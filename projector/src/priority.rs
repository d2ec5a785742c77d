//! Lower priorities of threads.

/// Niceness (setpriority(2)) of threads whose work nobody waits for.
pub(crate) const BACKGROUND: i32 = 19;
/// Niceness of threads for long reads: under load, they get a tenth of the time of others.
pub(crate) const LONG: i32 = 10;

/// Lowers the priority of the calling thread, and of the threads that it starts.
pub(crate) fn lower(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::debug!(error = %error, "cannot lower a thread's priority: {error}");
    }
}
