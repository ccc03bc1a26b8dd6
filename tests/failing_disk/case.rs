//! One case: a workload, which operation fails and how, and what has to hold then.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use thalweg::simulation::{Cut, Fault, OperationKind, SimulatedDisk, Survival, SyncPoint};
use thalweg::{Error, ErrorKind};

use crate::model::{End, Model};
use crate::scripts::Script;
use crate::session::{Session, broker_config};

pub(crate) const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

/// Errors that an operation fails with, once.
pub(crate) const ERRNOS: [i32; 9] = [EIO, ENOSPC, EDQUOT, EMFILE, EINTR, EAGAIN, ENOMEM, EROFS, EACCES];

#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) script: &'static Script,
    /// `None`: the operations of all kinds that change something.
    pub(crate) kind: Option<OperationKind>,
    /// How many of them succeed before.
    pub(crate) after: usize,
    pub(crate) errno: i32,
    pub(crate) for_ever: bool,
    /// Bytes that a write has written before it fails.
    pub(crate) written: Option<usize>,
    /// Instead of all that: the step from which on the disk is full.
    pub(crate) full_at: Option<usize>,
    pub(crate) switched_off: Option<SyncPoint>,
    /// Which of the ends is tried, the kill or one of the power cuts: this one, or all.
    pub(crate) end: Option<usize>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.script.name)?;
        if let Some(step) = self.full_at {
            return write!(f, "the disk is full from step {step} on");
        }
        let kind = self.kind.map_or("operation".to_owned(), |kind| format!("{kind:?}"));
        write!(f, "{kind} {} fails with {}", self.after, io::Error::from_raw_os_error(self.errno))?;
        if let Some(written) = self.written {
            write!(f, " after {written} bytes")?;
        }
        f.write_str(if self.for_ever { ", and all that follow" } else { "" })
    }
}

/// What became of a case.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The errors that the application saw.
    pub(crate) errors: Vec<Error>,
}

impl Case {
    pub(crate) fn new(script: &'static Script) -> Self {
        Case {
            script,
            kind: None,
            after: 0,
            errno: EIO,
            for_ever: false,
            written: None,
            full_at: None,
            switched_off: None,
            end: None,
        }
    }

    pub(crate) fn arm(&self, disk: &SimulatedDisk) {
        if self.full_at.is_some() {
            return;
        }
        let fault = self.kind.map_or(Fault::any(), Fault::of).after(self.after).errno(self.errno);
        let fault = self.written.map_or(fault, |written| fault.written(written));
        disk.fail(if self.for_ever { fault.for_ever() } else { fault });
    }

    fn is_of_room(&self) -> bool {
        self.full_at.is_some() || [ENOSPC, EDQUOT].contains(&self.errno)
    }

    /// Whether a sync can fail, after which only the device knows what it has.
    pub(crate) fn is_of_syncs(&self) -> bool {
        let is_sync = matches!(self.kind, Some(OperationKind::Sync | OperationKind::SyncDir));
        self.full_at.is_none() && (self.for_ever || is_sync)
    }

    /// Whether only one call can fail.
    pub(crate) fn is_over_after_one(&self) -> bool {
        self.full_at.is_none() && !self.for_ever
    }

    /// Whether nothing is the matter with the disk, and everything has to go on when there is room again, or a handle: if
    /// it is an operation that needs that.
    pub(crate) fn is_gentle(&self) -> bool {
        use OperationKind::*;
        let needs_room = matches!(self.kind, Some(Write | Create | Rename | HardLink | SetLen | Reserve | CreateDir));
        let needs_handle = matches!(self.kind, Some(Create | Open | List | SyncDir));
        self.full_at.is_some() || self.is_of_room() && needs_room || self.errno == EMFILE && needs_handle
    }

    /// Whether an application can make sense of an error.
    pub(crate) fn is_sensible(&self, error: &Error, is_first: bool) -> Result<(), &'static str> {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let is_injected = source.is_some_and(|source| source.raw_os_error() == Some(self.errno));
        match error.kind() {
            ErrorKind::Storage { .. } if !error.to_string().contains("open") => Err("the text does not say what to do"),
            ErrorKind::Storage { .. } if error.is_retriable() => Err("a failed partition cannot be tried again"),
            ErrorKind::Storage { reason } if reason.contains("delete it again") => Ok(()),
            ErrorKind::Storage { .. } if self.is_gentle() => Err("nothing is wrong with the disk"),
            ErrorKind::Storage { .. } => Ok(()),
            ErrorKind::StorageFull if self.is_of_room() && error.is_retriable() => Ok(()),
            ErrorKind::Io { .. } if self.is_of_room() && is_injected => Err("no room is another error"),
            ErrorKind::Io { .. } => Ok(()),
            _ if is_first => Err("not an error of the disk"),
            _ => Ok(()),
        }
    }

    /// Runs the workload and looks at what it left. `Err` says what is wrong.
    pub(crate) fn run(&self) -> Result<Outcome, String> {
        let tried = catch_unwind(AssertUnwindSafe(|| self.run_in(&crate::directory().path().join("data"))));
        let outcome = tried.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("a panic: {}", text.unwrap_or_default()))
        });
        outcome.map_err(|wrong| format!("{self}: {wrong}"))
    }

    pub(crate) fn disk(&self) -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        if let Some(point) = self.switched_off {
            disk.switch_off(point);
        }
        disk
    }

    fn run_in(&self, dir: &Path) -> Result<Outcome, String> {
        let mut session = Session::new(self.disk(), dir, self);
        (self.script.run)(&mut session);
        let (ended, model) = (session.disk.operations(), session.model.clone());
        session.disk.heal();
        session.disk.set_capacity(None);
        let outcome = session.go_on();
        let went_on = session.disk.operations();
        session.kill();
        let seed = self.after as u64 * 31 + u64::from(self.errno.unsigned_abs());
        let mut ends =
            vec![None, Some((went_on, &session.model, Survival::Nothing)), Some((ended, &model, Survival::Some))];
        if let Some((at, model)) = &session.snapshot {
            let survival = if seed.is_multiple_of(2) { Survival::Some } else { Survival::Nothing };
            ends.push(Some((*at, model, survival)));
        }
        if let Some(only) = self.end {
            ends = vec![ends[only % ends.len()]];
        }
        if ends.iter().any(Option::is_none) {
            self.kill(&session).map_err(|wrong| format!("after a kill: {wrong}"))?;
        }
        let mut cuts: Vec<_> = ends.into_iter().flatten().collect();
        cuts.sort_by_key(|(at, ..)| *at);
        for (number, (at, model, survival)) in cuts.into_iter().enumerate() {
            let cut = Cut { at, survival, seed };
            self.cut(&session, cut, model, number).map_err(|wrong| format!("{cut}: {wrong}"))?;
        }
        outcome.map(|()| Outcome { errors: session.errors })
    }

    /// Another process opens the same directory.
    fn kill(&self, session: &Session<'_>) -> Result<(), String> {
        self.open_and_go_on(&session.disk, &session.dir, &session.model, End::Kill)
    }

    /// The data directory and the backups are laid out before any of them is opened: they share files, and none may change
    /// what the others have.
    fn cut(&self, session: &Session<'_>, cut: Cut, model: &Model, number: usize) -> Result<(), String> {
        // Backups were made before the workload ended.
        let is_last = session.snapshot.as_ref().is_none_or(|(at, _)| *at < cut.at);
        let backups = session.backups.iter().filter(|_| is_last).map(|(path, model)| (path, model));
        let mut survived = session.disk.cut(&cut);
        let mut found = Vec::new();
        for (path, model) in [(&session.dir, model)].into_iter().chain(backups) {
            let what = path.file_name().unwrap().display();
            let to = session.dir.with_file_name(format!("{what}-{number}"));
            // (A parent that may not be opened to be synced is taken for somebody else's work.)
            if survived.write(path, &to).unwrap() {
                found.push((what, to, model));
            } else if !model.promises_nothing() && self.errno != EACCES {
                return Err(format!("{what} is gone"));
            }
        }
        for (what, to, model) in found {
            let outcome = self.open_and_go_on(&self.disk(), &to, model, End::PowerCut);
            outcome.map_err(|wrong| format!("{what}: {wrong}"))?;
        }
        Ok(())
    }

    /// What is there is what was promised, takes more, and is closed in order.
    fn open_and_go_on(&self, disk: &SimulatedDisk, dir: &Path, model: &Model, end: End) -> Result<(), String> {
        let open = || disk.open_broker(dir, broker_config()).map_err(|error| format!("it does not open: {error:?}"));
        let broker = open()?;
        model.check(&broker, end)?;
        let takes_no_append = |error| format!("it takes no append: {error:?}");
        crate::append::to_all(&broker).map_err(takes_no_append)?;
        broker.close().map_err(|error| format!("it does not close: {error:?}"))
    }
}

/// A record that was never acknowledged is not there after a kill, and the checks notice.
#[test]
fn an_acknowledgement_that_was_made_up_is_noticed() {
    let far = Case { after: usize::MAX, ..Case::new(&crate::scripts::SCRIPTS[0]) };
    for has_lied in [false, true] {
        let dir = crate::directory();
        let mut session = Session::new(far.disk(), &dir.path().join("data"), &far);
        (far.script.run)(&mut session);
        if has_lied {
            let log = session.model.log(&crate::session::partition("o", 0));
            log.sent.push("a lie".to_owned());
            log.acked.insert(log.acked_end(), log.sent.len() - 1);
        }
        session.kill();
        assert_eq!(far.kill(&session).is_err(), has_lied);
    }
}
