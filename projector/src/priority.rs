//! A lower priority for threads whose work can wait.

/// Niceness (setpriority(2)): where threads compete for a processor, such a one gets a tenth of the time of others.
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread, and of the threads that it starts.
pub(crate) fn lower() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(error = %error, "cannot lower a thread's priority: {error}");
    }
}
