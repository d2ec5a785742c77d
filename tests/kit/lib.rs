//! What the tests share: real services, running servers, an HTTP client, and an independent model of the fold.

pub mod api;
pub mod model;
pub mod process;
pub mod random;
pub mod services;
