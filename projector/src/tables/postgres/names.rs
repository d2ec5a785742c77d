//! Names of schemas. PostgreSQL cuts a name off after 63 bytes without an error, so two long ones could become one.

use sha2::{Digest, Sha256};

/// Longest name, in bytes, inclusive.
const NAME_BYTES_MAX: usize = 63;
/// Digits of the hash that takes the place of the end of a domain's name.
const HASH_DIGITS: usize = 12;

/// The name of a generation's schema. It needs no quotes.
pub(super) fn schema_name(prefix: &str, domain: &str, generation: i64) -> String {
    let domain = domain.replace('.', "_");
    let name = |domain: &str| format!("{prefix}_{domain}_g{generation:04}");
    let over = name(&domain).len().saturating_sub(NAME_BYTES_MAX);
    if over == 0 {
        return name(&domain);
    }
    let hash = Sha256::digest(&domain).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let kept = domain.len().saturating_sub(over + HASH_DIGITS + 1);
    let kept: String = domain.chars().take(kept).collect();
    name(&format!("{kept}_{}", &hash[..HASH_DIGITS]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_enough_and_its_own() {
        assert_eq!(schema_name("daybook", "orders", 1), "daybook_orders_g0001");
        assert_eq!(schema_name("daybook", "orders.of_today", 12), "daybook_orders_of_today_g0012");
        let long = |last: &str| schema_name("daybook", &format!("orders.{}{last}", "x".repeat(58)), 1);
        assert_eq!(long("a").len(), NAME_BYTES_MAX);
        assert_ne!(long("a"), long("b"));
        assert_ne!(long("a"), schema_name("daybook", &format!("orders.{}a", "x".repeat(58)), 2));
    }
}
