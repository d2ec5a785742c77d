//! The binary `daybook`.

use std::process::ExitCode;

/// Requests make many small allocations that are freed on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    daybook::run(daybook::domains::ALL)
}
