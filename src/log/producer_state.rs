//! What a log knows of the idempotent producers that write to it, and what it answers to their batches.
//!
//! A retried batch carries the sequence numbers of the first try. The last five batches of each producer are remembered:
//! a repeat of one of them is answered with the offsets that it got, and nothing is written. Five, because a producer has
//! at most as many batches under way. Nothing here reads or writes a file, see [`producers`](super::producers).
//!
//! Rule: log.md 13, `ProducerStateManager`, `ProducerAppendInfo`, `ProducerStateEntry`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use crate::error::ErrorKind;
use crate::record::BatchHeader;
use crate::types::{NO_TIMESTAMP, Offset, Timestamp};

/// Batches of a producer that are remembered.
pub(crate) const BATCHES_MAX: usize = 5;

/// The epoch of a coordinator that never wrote a marker.
pub(super) const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerBatch {
    /// Sequence number of its last record; -1 for none, which only a group coordinator's batch has.
    pub(crate) last_sequence: i32,
    /// Last offset minus base offset, 0 or more.
    pub(crate) offset_delta: i32,
    pub(crate) last_offset: Offset,
    /// The largest of its records, or the time of its append where the topic stamps records.
    pub(crate) timestamp: Timestamp,
}

impl ProducerBatch {
    fn of(header: &BatchHeader) -> Self {
        ProducerBatch {
            last_sequence: header.last_sequence(),
            offset_delta: header.last_offset_delta(),
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp(),
        }
    }

    /// Sequence number of its first record.
    pub(crate) fn first_sequence(&self) -> i32 {
        // Sequence numbers wrap from 2^31 - 1 to 0 (records.md 2).
        if self.last_sequence < 0 { -1 } else { self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX }
    }

    /// Offset of its first record.
    pub(crate) fn base_offset(&self) -> Offset {
        self.last_offset.saturating_sub(Offset::from(self.offset_delta))
    }

    /// The offset after its last record.
    pub(crate) fn end(&self) -> Offset {
        self.last_offset.saturating_add(1)
    }
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) epoch: i16,
    /// Batches that are remembered.
    count: u8,
    /// Of the coordinator that wrote the last marker.
    pub(crate) coordinator_epoch: i32,
    /// The first `count` are remembered, the newest last.
    batches: [ProducerBatch; BATCHES_MAX],
    /// That of the last batch or marker.
    pub(crate) last_timestamp: Timestamp,
    /// When something of it was last appended, by the wall clock: records may have any time.
    pub(crate) seen: Timestamp,
    /// First offset of the transaction that is open.
    pub(crate) transaction_start: Option<Offset>,
}

impl ProducerState {
    /// A producer of which nothing is remembered but its epoch.
    pub(crate) fn new(epoch: i16, now: Timestamp) -> Self {
        ProducerState {
            epoch,
            count: 0,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            batches: [ProducerBatch::default(); BATCHES_MAX],
            last_timestamp: NO_TIMESTAMP,
            seen: now,
            transaction_start: None,
        }
    }

    /// The batches that are remembered, the newest last.
    pub(crate) fn batches(&self) -> &[ProducerBatch] {
        self.batches.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Remembers `batch`, in the place of the oldest one where there are five.
    pub(crate) fn push(&mut self, batch: ProducerBatch) {
        if usize::from(self.count) == BATCHES_MAX {
            self.batches.copy_within(1.., 0);
            self.count -= 1;
        }
        if let Some(free) = self.batches.get_mut(usize::from(self.count)) {
            *free = batch;
            self.count += 1;
        }
    }

    /// The sequence number that has to follow.
    fn next_sequence(&self) -> i32 {
        self.batches().last().map_or(0, |last| last.last_sequence.wrapping_add(1) & i32::MAX)
    }

    /// Takes note of a batch or marker of `epoch`: what was remembered of another epoch does not count any more.
    fn enter(&mut self, epoch: i16, timestamp: Timestamp, now: Timestamp) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.count = 0;
        }
        (self.last_timestamp, self.seen) = (timestamp, now);
    }

    fn note(&mut self, header: &BatchHeader, now: Timestamp) {
        self.enter(header.producer_epoch(), header.max_timestamp(), now);
        self.push(ProducerBatch::of(header));
        if header.is_transactional() {
            self.transaction_start.get_or_insert(header.base_offset());
        }
    }

    fn check(&self, producer_id: i64, header: &BatchHeader) -> Check {
        let (epoch, current) = (header.producer_epoch(), self.epoch);
        let (first, last) = (header.base_sequence(), header.last_sequence());
        if epoch == current {
            let is_same = |batch: &&ProducerBatch| batch.last_sequence == last && batch.first_sequence() == first;
            if let Some(batch) = self.batches().iter().find(is_same) {
                return Check::Duplicate(*batch);
            }
        }
        if epoch < current {
            return Check::Refuse(ErrorKind::InvalidProducerEpoch { producer_id, epoch, current });
        }
        let expected = if current < epoch { 0 } else { self.next_sequence() };
        if first != expected {
            return Check::Refuse(ErrorKind::OutOfOrderSequence { producer_id, sequence: first, expected });
        }
        if self.transaction_start.is_some() && !header.is_transactional() {
            return Check::Refuse(ErrorKind::InvalidTxnState { producer_id });
        }
        Check::Append
    }
}

/// What is to be done with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Append,
    /// It was appended before, as this one.
    Duplicate(ProducerBatch),
    Refuse(ErrorKind),
}

/// All producers that a log knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerStates {
    by_id: HashMap<i64, ProducerState, RandomState>,
}

impl ProducerStates {
    /// What is to be done with a batch that is to be appended. Nothing is remembered of it before [`note`](Self::note).
    ///
    /// Rule: the table in producer.md 6, in its order.
    pub(crate) fn check(&self, header: &BatchHeader) -> Check {
        let Some(producer_id) = header.producer_id() else { return Check::Append };
        if header.is_control() {
            return Check::Append; // a coordinator's, which has its own rules
        }
        if header.base_sequence() < 0 {
            return Check::Refuse(ErrorKind::InvalidRecord { reason: "a producer with an id numbers its records" });
        }
        self.by_id.get(&producer_id).map_or(Check::Append, |state| state.check(producer_id, header))
    }

    /// Takes note of a batch that was appended, or is found in the log: whatever it says is so. Of markers
    /// [`end_transaction`](Self::end_transaction) takes note.
    pub(crate) fn note(&mut self, header: &BatchHeader, now: Timestamp) {
        let Some(producer_id) = header.producer_id().filter(|_| !header.is_control()) else { return };
        let state = self.by_id.entry(producer_id);
        state.or_insert_with(|| ProducerState::new(header.producer_epoch(), now)).note(header, now);
    }

    /// Takes note of a marker, which ends the transaction of its producer.
    pub(crate) fn end_transaction(&mut self, header: &BatchHeader, coordinator_epoch: i32, now: Timestamp) {
        let Some(producer_id) = header.producer_id() else { return };
        let state = self.by_id.entry(producer_id);
        let state = state.or_insert_with(|| ProducerState::new(header.producer_epoch(), now));
        state.enter(header.producer_epoch(), header.max_timestamp(), now);
        state.coordinator_epoch = coordinator_epoch;
        state.transaction_start = None;
    }

    /// Puts in what a snapshot says of a producer, unless something is known of it.
    pub(crate) fn restore(&mut self, producer_id: i64, state: ProducerState) {
        if let Entry::Vacant(vacant) = self.by_id.entry(producer_id) {
            vacant.insert(state);
        }
    }

    /// Forgets producers that have been idle for `limit` milliseconds or longer at `now` and have no transaction open.
    /// Returns how many.
    pub(crate) fn expire(&mut self, now: Timestamp, limit: i64) -> usize {
        let count = self.by_id.len();
        self.by_id.retain(|_, state| state.transaction_start.is_some() || now.saturating_sub(state.seen) < limit);
        let forgotten = count - self.by_id.len();
        if forgotten > 0 && self.by_id.len() < self.by_id.capacity() / 4 {
            self.by_id.shrink_to_fit();
        }
        forgotten
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The producers, by id.
    pub(crate) fn sorted(&self) -> Vec<(i64, &ProducerState)> {
        let mut sorted: Vec<_> = self.by_id.iter().map(|(id, state)| (*id, state)).collect();
        sorted.sort_unstable_by_key(|(id, _)| *id);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Batch, BatchBuilder, Compression, assign};

    /// A batch as an append finds it.
    #[derive(Clone, Copy, Debug)]
    struct Sent {
        id: i64,
        epoch: i16,
        sequence: i32,
        count: i32,
        offset: Offset,
        transactional: bool,
    }

    fn sent(epoch: i16, sequence: i32, count: i32) -> Sent {
        Sent { id: 7, epoch, sequence, count, offset: 0, transactional: false }
    }

    impl Sent {
        fn with_header<T>(&self, look: impl FnOnce(&BatchHeader) -> T) -> T {
            let mut builder = BatchBuilder::new();
            builder.set_producer(self.id, self.epoch, self.sequence);
            builder.set_transactional(self.transactional);
            for record in 0..self.count {
                builder.push(1000 + i64::from(record), None, Some(b"v"), std::iter::empty());
            }
            let bytes = builder.finish(Compression::None, None).unwrap();
            assign(bytes, self.offset, 0);
            look(&Batch::first(bytes).unwrap().unwrap())
        }
    }

    fn check(states: &ProducerStates, batch: Sent) -> Check {
        batch.with_header(|header| states.check(header))
    }

    fn note(states: &mut ProducerStates, batch: Sent) {
        batch.with_header(|header| states.note(header, 5000));
    }

    /// Appends `batch`, which must be accepted.
    fn append(states: &mut ProducerStates, batch: Sent) {
        assert_eq!(check(states, batch), Check::Append, "{batch:?}");
        note(states, batch);
    }

    fn out_of_order(sequence: i32, expected: i32) -> Check {
        Check::Refuse(ErrorKind::OutOfOrderSequence { producer_id: 7, sequence, expected })
    }

    /// Batches of ten records each, at offsets 100, 110 and so on.
    fn with_batches(count: i32) -> ProducerStates {
        let mut states = ProducerStates::default();
        for at in 0..count {
            append(&mut states, Sent { offset: Offset::from(100 + at * 10), ..sent(3, at * 10, 10) });
        }
        states
    }

    #[test]
    fn each_of_the_last_five_batches_is_answered_with_its_offsets() {
        let states = with_batches(7);
        for at in 2..7 {
            let Check::Duplicate(batch) = check(&states, sent(3, at * 10, 10)) else { panic!("batch {at}") };
            let base = Offset::from(100 + at * 10);
            assert_eq!((batch.base_offset(), batch.end(), batch.timestamp), (base, base + 10, 1009));
        }
        for at in 0..2 {
            assert_eq!(check(&states, sent(3, at * 10, 10)), out_of_order(at * 10, 70), "older than the five");
        }
    }

    #[test]
    fn a_part_of_a_batch_or_more_than_one_is_no_duplicate() {
        let states = with_batches(3);
        for (sequence, count) in [(20, 9), (20, 11), (21, 9), (10, 20), (19, 11)] {
            assert_eq!(check(&states, sent(3, sequence, count)), out_of_order(sequence, 30));
        }
    }

    #[test]
    fn a_lower_epoch_is_refused_even_with_the_sequences_of_a_batch() {
        let states = with_batches(3);
        let refused = |epoch| Check::Refuse(ErrorKind::InvalidProducerEpoch { producer_id: 7, epoch, current: 3 });
        for sequence in [0, 20, 30] {
            assert_eq!(check(&states, sent(2, sequence, 10)), refused(2));
        }
    }

    #[test]
    fn an_unknown_producer_begins_with_any_sequence() {
        let mut states = ProducerStates::default();
        append(&mut states, sent(5, 12345, 2));
        assert_eq!(check(&states, sent(5, 12347, 1)), Check::Append);
        assert_eq!(check(&states, Sent { id: 8, ..sent(0, 99, 1) }), Check::Append);
    }

    #[test]
    fn a_higher_epoch_begins_with_0_and_forgets_the_batches() {
        let mut states = with_batches(3);
        assert_eq!(check(&states, sent(4, 30, 10)), out_of_order(30, 0));
        assert_eq!(check(&states, sent(4, 20, 10)), out_of_order(20, 0));
        append(&mut states, Sent { offset: 500, ..sent(4, 0, 10) });
        assert!(matches!(check(&states, sent(4, 0, 10)), Check::Duplicate(batch) if batch.base_offset() == 500));
        assert_eq!(check(&states, sent(4, 20, 10)), out_of_order(20, 10));
    }

    #[test]
    fn the_next_sequence_is_appended_and_a_gap_is_not() {
        let states = with_batches(3);
        assert_eq!(check(&states, sent(3, 30, 1)), Check::Append);
        for sequence in [29, 31, 1000, i32::MAX] {
            assert_eq!(check(&states, sent(3, sequence, 1)), out_of_order(sequence, 30));
        }
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_0() {
        let mut states = ProducerStates::default();
        append(&mut states, sent(0, i32::MAX - 1, 2));
        assert_eq!(check(&states, sent(0, 1, 1)), out_of_order(1, 0));
        append(&mut states, Sent { offset: 2, ..sent(0, 0, 1) });
        assert!(
            matches!(check(&states, sent(0, i32::MAX - 1, 2)), Check::Duplicate(batch) if batch.base_offset() == 0)
        );
        // A batch with the wrap inside of it.
        let mut states = ProducerStates::default();
        append(&mut states, Sent { offset: 40, ..sent(0, i32::MAX - 1, 5) });
        assert!(matches!(check(&states, sent(0, i32::MAX - 1, 5)), Check::Duplicate(batch) if batch.end() == 45));
        assert_eq!(check(&states, sent(0, 4, 1)), out_of_order(4, 3));
        append(&mut states, Sent { offset: 45, ..sent(0, 3, 1) });
    }

    #[test]
    fn a_batch_outside_the_open_transaction_is_refused() {
        let mut states = ProducerStates::default();
        append(&mut states, Sent { transactional: true, ..sent(1, 0, 1) });
        let refused = Check::Refuse(ErrorKind::InvalidTxnState { producer_id: 7 });
        assert_eq!(check(&states, sent(1, 1, 1)), refused);
        assert_eq!(check(&states, sent(1, 5, 1)), out_of_order(5, 1), "the sequence comes first");
        append(&mut states, Sent { transactional: true, offset: 1, ..sent(1, 1, 1) });
        Sent { offset: 2, ..sent(1, -1, 1) }.with_header(|header| states.end_transaction(header, 9, 6000));
        append(&mut states, Sent { offset: 3, ..sent(1, 2, 1) });
        assert_eq!(states.by_id[&7].coordinator_epoch, 9);
    }

    #[test]
    fn records_without_a_number_are_refused_and_those_without_an_id_are_not_looked_at() {
        let states = with_batches(1);
        assert!(matches!(check(&states, sent(3, -1, 1)), Check::Refuse(ErrorKind::InvalidRecord { .. })));
        assert_eq!(check(&states, Sent { id: -1, ..sent(-1, -1, 1) }), Check::Append);
    }

    #[test]
    fn idle_producers_are_forgotten_but_those_with_an_open_transaction() {
        let mut states = with_batches(1); // seen at 5000
        note(&mut states, Sent { id: 8, transactional: true, ..sent(0, 0, 1) });
        Sent { id: 9, ..sent(0, 0, 1) }.with_header(|header| states.note(header, 5001));
        assert_eq!(states.expire(5999, 1000), 0);
        assert_eq!(states.expire(6000, 1000), 1);
        assert_eq!(states.sorted().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(check(&states, sent(0, 555, 1)), Check::Append, "unknown again");
        assert_eq!(states.expire(i64::MAX, 1000), 1);
        assert_eq!(states.expire(0, 1000), 0, "a clock that went back");
    }

    #[test]
    fn whatever_is_found_in_a_log_is_taken() {
        let mut states = with_batches(3);
        note(&mut states, Sent { offset: 900, ..sent(3, 77, 1) });
        note(&mut states, Sent { offset: 901, ..sent(1, 5, 1) });
        assert_eq!(check(&states, sent(1, 6, 1)), Check::Append);
    }

    /// The table again, over all batches that were ever appended.
    fn naive(appended: &[Sent], batch: Sent) -> &'static str {
        let ours: Vec<_> = appended.iter().filter(|other| other.id == batch.id).collect();
        let Some(newest) = ours.last() else { return "append" };
        let epoch = newest.epoch;
        let of_epoch = ours.iter().rev().take_while(|other| other.epoch == epoch).take(5);
        if of_epoch
            .clone()
            .any(|other| (other.epoch, other.sequence, other.count) == (batch.epoch, batch.sequence, batch.count))
        {
            return "duplicate";
        }
        let next = (i64::from(newest.sequence) + i64::from(newest.count)) % (1 << 31);
        match batch.epoch.cmp(&epoch) {
            std::cmp::Ordering::Less => "fenced",
            std::cmp::Ordering::Greater if batch.sequence == 0 => "append",
            std::cmp::Ordering::Equal if i64::from(batch.sequence) == next => "append",
            _ => "out of order",
        }
    }

    proptest! {
        #[test]
        fn the_state_is_as_good_as_all_batches(steps in vec((0..3_i64, 0..3_i16, 0..12_u8, 1..4_i32, any::<bool>()), 1..120)) {
            let (mut states, mut appended) = (ProducerStates::default(), Vec::<Sent>::new());
            for (id, epoch, pick, count, restarts) in steps {
                let newest = appended.iter().rev().find(|other: &&Sent| other.id == id);
                let next = newest.map_or(0, |newest| newest.sequence.wrapping_add(newest.count) & i32::MAX);
                // What follows, what was there, what begins anew, and something near the wrap.
                let back = appended.iter().rev().filter(|other| other.id == id).nth(usize::from(pick));
                let (epoch, sequence, count) = match (pick, back, newest) {
                    (0..=2, _, Some(newest)) => (newest.epoch, next, count),
                    (3..=8, Some(back), _) => (back.epoch, back.sequence, back.count),
                    (9, _, _) => (epoch, i32::MAX - 2, count),
                    (10, _, _) => (epoch, next.saturating_add(1), count),
                    _ => (epoch, 0, count),
                };
                let offset = appended.last().map_or(0, |last| last.offset + Offset::from(last.count));
                let batch = Sent { id, epoch, sequence, count, offset, transactional: false };
                let answer = check(&states, batch);
                let expected = naive(&appended, batch);
                let given = match &answer {
                    Check::Append => "append",
                    Check::Duplicate(_) => "duplicate",
                    Check::Refuse(ErrorKind::InvalidProducerEpoch { .. }) => "fenced",
                    Check::Refuse(_) => "out of order",
                };
                prop_assert_eq!(given, expected, "{:?} after {:?}", batch, appended);
                if let Check::Duplicate(original) = answer {
                    let first = appended.iter().rev().find(|other| {
                        (other.id, other.epoch, other.sequence, other.count) == (id, epoch, sequence, count)
                    });
                    prop_assert_eq!(Some(original.base_offset()), first.map(|first| first.offset));
                }
                if answer == Check::Append {
                    note(&mut states, batch);
                    appended.push(batch);
                }
                if restarts {
                    let bytes = crate::log::producer_snapshot::encode_snapshot(&states);
                    states = ProducerStates::default();
                    for entry in crate::log::parse_snapshot(&bytes).unwrap() {
                        states.restore(entry.producer_id, entry.state);
                    }
                }
            }
        }
    }
}
