//! What a commit of a job says, so that the next run goes on where the last one stopped.

use serde::{Deserialize, Serialize};

/// How far a job was at a commit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// Records that were read.
    pub(crate) records: u64,
    /// Rows that were written.
    pub(crate) rows: u64,
    /// The last record with a result, by which the next run sees whether it would write the same.
    pub(crate) last: Option<Last>,
    /// Records that were rejected since the commit before.
    pub(crate) rejected: Vec<Rejected>,
}

/// A record whose rows are in the output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Last {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) name: Option<String>,
    /// Where its rows begin in the output.
    pub(crate) start: u64,
}

/// A record without rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rejected {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) name: Option<String>,
    pub(crate) cause: String,
}
