//! The known name that is nearest to an unknown one, by edit distance.

/// The nearest of some names.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|name| strsim::osa_distance(unknown, name))
}
