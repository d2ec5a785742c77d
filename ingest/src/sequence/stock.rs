//! Numbers that were taken from the source and not yet given out, in order.

use std::collections::VecDeque;

use super::Spell;

/// What is in stock. Numbers that are added are greater than all that were before.
#[derive(Default)]
pub(super) struct Stock {
    numbers: VecDeque<i64>,
    /// The spell that they were taken in.
    spell: Option<Spell>,
    /// Counts how often the stock was thrown away.
    epoch: u64,
    /// Whether more was asked for.
    ordered: bool,
}

impl Stock {
    /// Whether there may be a stock now, in `spell`. What was taken in another is thrown away.
    pub(super) fn is_of(&mut self, spell: Option<Spell>) -> bool {
        if self.spell != spell || spell.is_none() {
            self.clear();
            self.spell = spell;
        }
        spell.is_some()
    }

    /// The numbers at the front, at most `count`.
    pub(super) fn take(&mut self, count: usize) -> Vec<i64> {
        self.numbers.drain(..count.min(self.numbers.len())).collect()
    }

    /// The number at the front.
    pub(super) fn next(&mut self) -> Option<i64> {
        self.numbers.pop_front()
    }

    /// Whether no more than `low` are left.
    pub(super) fn is_low(&self, low: usize) -> bool {
        self.numbers.len() <= low
    }

    /// Whether no more than `low` are left and nobody has asked for more. The caller does.
    pub(super) fn order(&mut self, low: usize) -> bool {
        let orders = self.is_low(low) && !self.ordered;
        self.ordered |= orders;
        orders
    }

    /// What is asked for from now on is asked for anew.
    pub(super) fn order_ended(&mut self) {
        self.ordered = false;
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds numbers that were asked for in `epoch`. Those from before the stock was thrown away go the same way.
    pub(super) fn add(&mut self, epoch: u64, numbers: impl IntoIterator<Item = i64>) {
        if epoch == self.epoch {
            self.numbers.extend(numbers);
            debug_assert!(self.numbers.iter().is_sorted(), "the source gives numbers in ascending order");
        }
    }

    /// Throws all away, also what is on its way.
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_leave_in_order_and_what_was_thrown_away_does_not_come_back() {
        let mut stock = Stock::default();
        let epoch = stock.epoch();
        stock.add(epoch, [3, 4, 7]);
        assert_eq!((stock.next(), stock.take(5), stock.next()), (Some(3), vec![4, 7], None));
        stock.add(epoch, [8, 9]);
        stock.clear();
        stock.add(epoch, [10, 11]);
        assert_eq!(stock.next(), None);
        stock.add(stock.epoch(), [12]);
        assert_eq!(stock.next(), Some(12));
    }

    #[test]
    fn no_number_of_one_spell_is_given_out_in_another() {
        let mut stock = Stock::default();
        assert!(stock.is_of(Some(1)));
        let epoch = stock.epoch();
        stock.add(epoch, [3, 4]);
        assert!(stock.is_of(Some(1)));
        assert_eq!(stock.next(), Some(3));
        assert!(stock.is_of(Some(2)));
        stock.add(epoch, [5]);
        assert_eq!(stock.next(), None);
        stock.add(stock.epoch(), [6]);
        assert!(!stock.is_of(None));
        assert!(stock.is_of(Some(2)));
        assert_eq!(stock.next(), None);
    }

    #[test]
    fn more_is_ordered_once_until_the_order_has_ended() {
        let mut stock = Stock::default();
        stock.add(0, [1, 2, 3]);
        assert!(!stock.order(2));
        assert_eq!(stock.next(), Some(1));
        assert_eq!([stock.order(2), stock.order(2)], [true, false]);
        stock.order_ended();
        assert!(stock.order(2));
    }
}
