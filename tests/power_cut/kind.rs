//! Kinds of workloads: which steps they take, and how often.

use crate::random::Random;

/// What an application does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Send,
    SendMany,
    SendAsync,
    Settle,
    Flush,
    Timers,
    Retain,
    DeleteRecords,
    Commit,
    CreateTopic,
    DeleteTopic,
    AlterTopic,
    CreatePartitions,
    BackUp,
    Reopen,
    Kill,
    Tick,
    Starve,
    Large,
}

/// What it does most of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything.
    Mixed,
    /// Topics come and go.
    Topics,
    /// The process is killed again and again.
    Kills,
    /// It is closed and opened again and again.
    Reopens,
    /// Backups are made and used.
    Backups,
    /// No file can be created at times.
    Starved,
    /// Much is written to a segment that is not full.
    Large,
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] =
        [Kind::Mixed, Kind::Topics, Kind::Kills, Kind::Reopens, Kind::Backups, Kind::Starved, Kind::Large];

    /// Each step, and how often it is taken.
    fn steps(self) -> &'static [(Step, usize)] {
        use Step::*;
        match self {
            Kind::Mixed => &[
                (Send, 30),
                (SendMany, 12),
                (SendAsync, 13),
                (Settle, 6),
                (Flush, 8),
                (Timers, 4),
                (Retain, 3),
                (DeleteRecords, 4),
                (Commit, 6),
                (CreateTopic, 2),
                (DeleteTopic, 2),
                (AlterTopic, 2),
                (CreatePartitions, 2),
                (BackUp, 1),
                (Reopen, 2),
                (Kill, 2),
                (Tick, 1),
            ],
            Kind::Topics => &[
                (Send, 20),
                (CreateTopic, 25),
                (DeleteTopic, 15),
                (AlterTopic, 10),
                (CreatePartitions, 15),
                (Commit, 5),
                (Reopen, 5),
                (Kill, 5),
            ],
            Kind::Kills => &[(Send, 5), (SendAsync, 50), (Timers, 15), (Commit, 3), (Flush, 5), (Kill, 15)],
            Kind::Reopens => &[(Send, 20), (SendMany, 15), (SendAsync, 10), (Commit, 20), (Reopen, 15), (Kill, 2)],
            Kind::Backups => &[
                (Send, 20),
                (SendMany, 10),
                (SendAsync, 20),
                (Commit, 5),
                (BackUp, 15),
                (Flush, 5),
                (Reopen, 5),
                (Kill, 5),
            ],
            Kind::Starved => &[(Send, 20), (SendMany, 15), (Starve, 20), (Commit, 5), (Kill, 5)],
            Kind::Large => &[(Large, 10), (Send, 20), (Commit, 5), (Tick, 10)],
        }
    }

    /// A step.
    pub(crate) fn pick(self, random: &mut Random) -> Step {
        let weights: usize = self.steps().iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(weights);
        for (step, weight) in self.steps() {
            if at < *weight {
                return *step;
            }
            at -= weight;
        }
        Step::Send
    }
}
