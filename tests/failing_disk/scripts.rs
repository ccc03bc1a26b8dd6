//! What an application does: small enough to be done again for every operation that can fail.

use std::time::Duration;

use thalweg::{Durability, TopicConfig};

use crate::session::Session;

const FSYNC: Durability = Durability::Fsync;
const OS: Durability = Durability::Os;

pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Session<'_>),
}

pub(crate) const SCRIPTS: &[Script] = &[
    Script { name: "send", run: send },
    Script { name: "roll", run: roll },
    Script { name: "administer", run: administer },
    Script { name: "tick", run: tick },
    Script { name: "back up", run: back_up },
    Script { name: "close and open", run: close_and_open },
    Script { name: "open after a kill", run: open_after_a_kill },
    Script { name: "open after a torn append", run: open_after_a_torn_append },
];

fn config(durability: Durability) -> TopicConfig {
    TopicConfig::new().durability(durability).internal_segment_bytes(2000).index_interval_bytes(500)
}

/// A topic of each durability, with a few records.
fn begin(session: &mut Session<'_>) {
    session.open();
    session.create_offsets_topic();
    session.create("f", 1, config(FSYNC).preallocate(true), true);
    session.create("i", 1, config(Durability::Interval), false);
    session.create("o", 1, config(OS), false);
}

/// A new directory, and all that an application does every day.
fn send(session: &mut Session<'_>) {
    session.arm();
    begin(session);
    session.send_and_wait(("f", 0), (1, 20));
    session.send_and_wait(("i", 0), (2, 20));
    session.send_and_wait(("o", 0), (1, 20));
    session.send(("o", 0), (1, 20), FSYNC);
    session.send(("f", 0), (4, 300), OS);
    session.send(("i", 0), (2, 30), FSYNC);
    session.settle();
    session.commit(("f", 0), 3);
    session.send(("i", 0), (2, 10), OS);
    session.run_timers();
    session.flush();
    session.settle();
    session.commit(("i", 0), 2);
    session.send_and_wait(("f", 0), (1, 10));
}

/// Segments are filled, with room reserved and without.
fn roll(session: &mut Session<'_>) {
    session.open();
    session.create_offsets_topic();
    session.create("f", 1, config(FSYNC), true);
    session.create("p", 1, config(FSYNC).preallocate(true), true);
    session.create("o", 1, config(OS), false);
    session.arm();
    for topic in ["f", "p", "o"] {
        for _ in 0..3 {
            session.send_and_wait((topic, 0), (3, 400));
        }
        session.flush();
    }
    session.commit(("p", 0), 5);
    session.flush();
    session.send_and_wait(("p", 0), (1, 10));
}

/// Topics come, change and go; records are deleted and expire.
fn administer(session: &mut Session<'_>) {
    let with_retention = || config(FSYNC).retention(Some(Duration::from_secs(60)));
    session.open();
    session.create_offsets_topic();
    session.create("f", 1, with_retention(), true);
    session.create("o", 1, config(OS).retention_bytes(Some(3000)), false);
    session.create("gone", 2, config(FSYNC), true);
    for topic in ["f", "o", "gone"] {
        for _ in 0..4 {
            session.send_and_wait((topic, 0), (3, 400));
        }
    }
    session.commit(("gone", 0), 2);
    session.arm();
    session.delete_records(("f", 0), 5);
    session.retain();
    session.create_partitions("f", 2);
    session.send_and_wait(("f", 1), (1, 20));
    session.alter("o", config(FSYNC).preallocate(true));
    session.send_and_wait(("o", 0), (1, 20));
    session.delete("gone");
    session.create("new", 1, config(Durability::Interval), false);
    session.send_and_wait(("new", 0), (1, 20));
    session.advance(Duration::from_secs(100));
    session.retain();
    session.send_and_wait(("f", 0), (1, 20));
}

/// Checkpoints between two rolls, and rolls by the clock.
fn tick(session: &mut Session<'_>) {
    let config = |durability| config(durability).segment_age(Duration::from_secs(10)).segment_roll_timer(true);
    session.open();
    session.create_offsets_topic();
    session.create("f", 1, config(FSYNC), true);
    session.create("o", 1, config(OS).preallocate(true), false);
    for topic in ["f", "o"] {
        session.send_and_wait((topic, 0), (3, 100));
    }
    session.arm();
    session.tick();
    session.advance(Duration::from_secs(11));
    session.tick();
    session.flush();
    for topic in ["f", "o"] {
        session.send_and_wait((topic, 0), (3, 100));
    }
    session.tick();
    session.advance(Duration::from_secs(11));
    session.tick();
    session.flush();
}

/// A copy is made while the directory is in use, and both go on.
fn back_up(session: &mut Session<'_>) {
    begin(session);
    for topic in ["f", "i", "o"] {
        for _ in 0..2 {
            session.send_and_wait((topic, 0), (3, 400));
        }
    }
    session.commit(("f", 0), 2);
    session.arm();
    session.back_up();
    session.send_and_wait(("f", 0), (1, 20));
    session.send_and_wait(("o", 0), (1, 20));
    session.back_up();
}

/// An end in order, and what follows; twice.
fn close_and_open(session: &mut Session<'_>) {
    begin(session);
    for topic in ["f", "i", "o"] {
        session.send_and_wait((topic, 0), (3, 400));
    }
    session.commit(("f", 0), 2);
    session.arm();
    session.close();
    session.open();
    session.send_and_wait(("o", 0), (2, 20));
    session.send_and_wait(("f", 0), (2, 20));
    session.commit(("f", 0), 4);
    session.close();
    session.open();
}

/// Recovery after a kill that left several segments, and a topic that was being deleted.
fn open_after_a_kill(session: &mut Session<'_>) {
    begin(session);
    session.create("gone", 2, config(FSYNC), true);
    for topic in ["f", "i", "o", "gone"] {
        for _ in 0..2 {
            session.send_and_wait((topic, 0), (3, 400));
        }
    }
    session.commit(("f", 0), 2);
    session.kill_in_a_deletion("gone");
    session.arm();
    session.open();
    session.send_and_wait(("o", 0), (2, 20));
    session.send_and_wait(("f", 0), (2, 20));
    session.commit(("f", 0), 4);
}

/// Recovery has an end to cut off.
fn open_after_a_torn_append(session: &mut Session<'_>) {
    begin(session);
    session.send_and_wait(("f", 0), (3, 100));
    session.send_and_wait(("o", 0), (3, 100));
    session.commit(("f", 0), 2);
    session.kill_in_an_append(("f", 0), 70);
    session.open();
    session.kill_in_an_append(("o", 0), 100);
    session.arm();
    session.open();
    session.send_and_wait(("o", 0), (2, 20));
    session.send_and_wait(("f", 0), (2, 20));
    session.commit(("f", 0), 3);
}
