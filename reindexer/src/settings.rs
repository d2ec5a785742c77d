//! What a deployment decides about its generations.

use std::time::Duration;

use crate::{
    deadlines::Deadlines,
    verify::{Canary, Limits},
};

/// What a deployment decides. All processes should have the same.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a generation is kept as the way back after it was live; `None`: until it is retired by hand.
    pub previous_max: Option<Duration>,
    /// How long ago a candidate may have been verified when its promotion begins.
    pub verified_max: Duration,
    /// How much a candidate may differ from the live generation.
    pub limits: Limits,
    /// Searches that verification runs on both generations, of all domains.
    pub canaries: Vec<Canary>,
}

/// What a version of a domain decides itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct VersionSettings {
    /// How long the previous generation is kept; `None`: as the deployment says.
    pub previous_max: Option<Duration>,
    /// How long its rebuilds may take.
    pub deadlines: Deadlines,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { previous_max: Some(day), verified_max: day, limits: Limits::default(), canaries: Vec::new() }
    }
}
