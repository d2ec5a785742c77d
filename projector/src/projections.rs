//! The projections, one folder each.

pub mod metaflow;
