//! Generations that a deadline has stopped: they have failed, and what was built of them is kept.

use daybook_projector::tables::{Params, TablesError};

use super::{Control, LOCK_DOMAIN, NewState, SET_PROMOTES, SET_STATE, SET_STOPPED, State, entries_of, lock_state};

impl Control {
    /// Notes that a deadline has stopped a generation in an expected state; false if it has another one.
    pub async fn stop(
        &self,
        domain: &'static str,
        generation: i64,
        from: State,
        reason: String,
    ) -> Result<bool, TablesError> {
        self.in_transaction(move |transaction| {
            if lock_state(domain, generation, transaction)? != Some(from) {
                return Ok(false);
            }
            let failed = NewState { generation, state: State::Failed, reason };
            transaction.execute(&SET_STATE, &failed.params(domain))?;
            let stopped = vec![domain.into(), generation.into(), from.as_str().into()];
            transaction.execute(&SET_STOPPED, &Params::One(stopped))?;
            Ok(true)
        })
        .await
    }

    /// Lets a generation go on where a deadline stopped it, and notes whether it is promoted as soon as it is ready; false
    /// if it cannot be resumed any longer.
    pub async fn resume(&self, domain: &'static str, generation: i64, promotes: bool) -> Result<bool, TablesError> {
        self.in_transaction(move |transaction| {
            transaction.read(&LOCK_DOMAIN, &Params::One(vec![domain.into()]))?;
            let entries = entries_of(domain, transaction)?;
            let Some(entry) = entries.into_iter().find(|entry| entry.generation == generation) else {
                return Ok(false);
            };
            let Some(stopped) = entry.stopped else { return Ok(false) };
            transaction.execute(&SET_STATE, &NewState::new(generation, stopped).params(domain))?;
            let promotes = vec![domain.into(), generation.into(), i64::from(promotes).into()];
            transaction.execute(&SET_PROMOTES, &Params::One(promotes))?;
            Ok(true)
        })
        .await
    }
}
