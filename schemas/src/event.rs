//! What a domain declares of its events.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

use crate::{registry::SchemaSet, rules::Violation, topics::Topic};

/// A type whose values are encoded by a set of released schemas.
pub trait Encoded: Serialize + DeserializeOwned + Debug + Clone + PartialEq + Send + Sync + 'static {
    /// The released schemas.
    fn schemas() -> &'static SchemaSet;

    /// The name of the event's Avro record, in the past tense.
    fn kind(&self) -> &'static str;
}

/// All events of a domain: an enum with one variant a kind.
///
/// Naming rule: a variant has the name of its Avro record. Its full Avro name is a serde alias, by which the decoder
/// finds a union's branch. [`events!`](crate::events) declares such an enum.
pub trait EventSet: Encoded {
    /// The topic that the event belongs to.
    fn topic(&self) -> Topic;

    /// The record's key: records of one key are ordered (or, in a compacted topic, compacted) together.
    fn key(&self) -> String;

    /// Checks the rules that need no tables; the first violation is returned.
    fn check(&self) -> Result<(), Violation>;

    /// The numbers of a sequence that the event uses, if it uses any.
    fn numbers(&self) -> Option<Numbers> {
        None
    }

    /// How many entries the event has, for requests that are answered with a count.
    fn entries(&self) -> usize {
        0
    }
}

/// Declares all events of a domain as an enum that implements [`Encoded`](crate::event::Encoded): `events!` takes the
/// static with its schemas and, for each variant, the full name of its Avro record. A variant holds the struct of its
/// name.
///
/// ```ignore
/// events! {
///     /// Any event of the domain.
///     pub enum Event of SCHEMAS {
///         /// An order was placed.
///         OrderPlaced = "io.daybook.orders.OrderPlaced",
///     }
/// }
/// ```
#[macro_export]
macro_rules! events {
    ($(#[$meta:meta])* $vis:vis enum $name:ident of $schemas:ident {
        $($(#[$kind_meta:meta])* $kind:ident = $avro:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $($(#[$kind_meta])* #[serde(alias = $avro)] $kind($kind)),+
        }

        impl $crate::event::Encoded for $name {
            fn schemas() -> &'static $crate::SchemaSet {
                &$schemas
            }

            fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => stringify!($kind)),+
                }
            }
        }
    };
}

/// Consecutive numbers of a sequence, `[first, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Name of the sequence.
    pub sequence: &'static str,
    /// The first number.
    pub first: i64,
    /// The last number, inclusive.
    pub last: i64,
    /// Greatest number that an import may give explicitly, inclusive. The numbers above are left to the server, and do
    /// not count as the highest one of the sequence: a single event must not exhaust it.
    pub explicit_max: i64,
}

impl Numbers {
    /// A single number.
    pub const fn one(sequence: &'static str, number: i64, explicit_max: i64) -> Self {
        Self { sequence, first: number, last: number, explicit_max }
    }
}
