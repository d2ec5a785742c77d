//! Switches on embedded files that a crash has cut off. A switch changes three files, which commit one after the other: the
//! tables of the former generation, control storage, the tables of the new generation.

use std::time::{SystemTime, UNIX_EPOCH};

use daybook_reindexer::switch::control::{ControlRow, Phase};

use crate::{process::Place, states::control, wait::until};

/// A switch from one generation to another.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    /// The live generation.
    pub from: i64,
    /// The next one.
    pub to: i64,
    /// The other one was live before.
    pub is_back: bool,
}

/// How many of the three files have committed when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// None of them.
    None,
    /// The tables of the former generation.
    Former,
    /// These, and control storage.
    Control,
    /// All of them.
    All,
}

/// Leaves the files as a crash leaves them, while no process runs. Both generations have applied the same records.
pub fn leave(place: &Place, domain: &str, switch: Switch, committed: Committed, deadline_ms: i64) {
    let Switch { from, to, is_back } = switch;
    let set_live = |generation: i64, is_live: bool| {
        let set = format!("UPDATE checkpoints SET is_live = {}", i64::from(is_live));
        place.alter(&format!("{domain}_g{generation:04}"), &set);
    };
    set_live(from, committed == Committed::None);
    set_live(to, committed == Committed::All);
    let is_switched = matches!(committed, Committed::Control | Committed::All);
    let (live, previous, phase, candidate) = match is_switched {
        true => (to, from, "following", 0),
        false => (from, if is_back { to } else { 0 }, "announced", to),
    };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let deadline = i64::try_from(deadline).unwrap_or_default() + deadline_ms;
    let row = format!(
        "UPDATE domains SET epoch = epoch + 1, live = {live}, previous = {previous}, phase = '{phase}', \
         candidate = {candidate}, deadline = {deadline} WHERE domain = '{domain}'"
    );
    place.alter("control", &row);
    let before = if is_back { "previous" } else { "ready" };
    let states = if is_switched { [(from, "previous"), (to, "live")] } else { [(from, "live"), (to, before)] };
    for (generation, state) in states {
        // The live one became live before the other one was ready.
        let changed = if state == "live" { "created_at" } else { "changed_at" };
        let set = format!("UPDATE generations SET state = '{state}', changed_at = {changed}");
        place.alter("control", &format!("{set} WHERE domain = '{domain}' AND generation = {generation}"));
    }
}

/// The control row of a domain once no switch is under way.
///
/// # Panics
/// If there is none.
pub async fn idle(place: &Place, domain: &str) -> ControlRow {
    let (control, mut found) = (control(place).await, None);
    until("no switch is under way", async || {
        found = control.domain(domain).await.ok().flatten();
        found.is_some_and(|row| row.phase == Phase::Idle)
    })
    .await;
    found.unwrap_or_else(|| panic!("there is no control row"))
}
