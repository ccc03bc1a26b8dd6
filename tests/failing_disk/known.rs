//! What these tests have found and nobody has mended so far. A line goes when its defect does.

use crate::case::{Case, ENOSPC};

pub(crate) struct Known {
    pub(crate) what: &'static str,
    is_it: fn(&Case, &str) -> bool,
}

pub(crate) const KNOWN: &[Known] = &[Known {
    what: "a checkpoint is written in place on a full disk, and is damaged if that fails, too",
    is_it: |case, wrong| case.for_ever && case.errno == ENOSPC && wrong.contains("it should start within"),
}];

/// What it is, if it is known.
pub(crate) fn find(case: &Case, wrong: &str) -> Option<usize> {
    KNOWN.iter().position(|known| (known.is_it)(case, wrong))
}
