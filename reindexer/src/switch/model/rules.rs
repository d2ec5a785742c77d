//! The rules that the model can leave out, one at a time, to show that each is needed.

/// A rule of the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The tables of a generation that is not live never pass the live ones.
    TablesLimit,
    /// That limit is decided after the generation's own checkpoint is locked.
    TablesLimitUnderLock,
    /// A batch commits only if the checkpoint is where it began.
    CompareCheckpoint,
    /// While instances follow, the former index never passes the live one.
    IndexLimit,
    /// An index reads the checkpoint of its tables before the control row.
    IndexTablesFirst,
    /// A promotion is announced only when nothing is under way.
    AnnounceWhenIdle,
    /// A flip comes before the deadline.
    FlipInTime,
    /// A flip requires that the candidate's tables have reached the live ones.
    FlipTablesLag,
    /// ... in every partition.
    FlipEveryPartition,
    /// The checkpoints are locked from that check until the flip commits.
    FlipUnderLock,
    /// While instances follow, writes wait for both generations.
    WritesWaitForFormer,
    /// ... and reads too.
    ReadsWaitForFormer,
    /// A read of a generation that is no longer live waits for the live one.
    ReadsWaitForLive,
    /// The wait is compared with the local value as it is when the answer is sent.
    WaitsAreCurrent,
    /// A search waits until the index has reached what the tables had applied when the generation became live.
    SearchFloor,
    /// The position of a search is that of its tables, after the search.
    SearchPosition,
    /// A promotion is complete only when every instance with a lease has followed.
    CompleteAcknowledged,
    /// ... which is checked under the lock under which it commits.
    CompleteUnderLock,
    /// A renewal is checked under the lock under which it commits.
    RenewUnderLock,
    /// An expired lease is not renewed.
    RenewUnexpired,
    /// After the deadline, an instance that has not followed can't renew.
    RenewFollowed,
    /// An instance acknowledges what it has applied, not what it has seen.
    AcknowledgeApplied,
    /// A control row is applied only if it is newer.
    NewerOnly,
    /// An instance that joins takes the control row together with the lease.
    JoinWithRow,
    /// An instance that joins has given up its former lease.
    JoinGivesUp,
    /// A process does not join over the unexpired lease of another process with its name.
    JoinNotHeld,
    /// A request begins only under a lease that is held.
    BeginHeld,
    /// An answer needs the lease under which its request began.
    SameLease,
    /// ... unexpired.
    LeaseUnexpired,
    /// A lease ends by the instance's clock before it ends in control storage.
    OwnClockFirst,
    /// A request keeps the generation that it began on.
    OneGeneration,
    /// Every transition compares the epoch.
    CompareEpoch,
    /// A promotion is withdrawn only before the flip.
    WithdrawBeforeFlip,
    /// Another previous generation is retired before a promotion.
    RetireFirst,
    /// Nothing is retired while instances follow.
    RetireWhenIdle,
    /// A generation is dropped only when every instance with a lease has closed it.
    RetiredAcknowledged,
    /// An instance acknowledges that it closed a generation only when no request reads it.
    AcknowledgeClosed,
    /// A generation that is closing takes no new requests.
    ClosingRefuses,
}
