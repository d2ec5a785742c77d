//! What the tests share: real services, running servers, an HTTP client, writers that know what was acknowledged, proxies
//! that do harm, and an independent model of the fold.

pub mod api;
pub mod bulk_proxy;
pub mod comparison;
pub mod crashed_switches;
pub mod documents;
pub mod fuzz;
pub mod locks;
pub mod model;
pub mod process;
pub mod proxy;
pub mod random;
pub mod services;
pub mod states;
pub mod user;
pub mod wait;
pub mod writers;
