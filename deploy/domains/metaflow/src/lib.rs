//! The domain Metaflow: flows, runs, steps, tasks, artifacts and metadata of [Metaflow](https://metaflow.org), as its
//! metadata service keeps them.
//!
//! [`events`] says what happens, [`sequences`] numbers it, `decisions` make events of commands, [`projection`] makes
//! rows and search documents of events, [`routes`] serve them. The binary gives it its settings.

mod decisions;
pub mod events;
pub mod projection;
pub mod routes;
pub mod sequences;
