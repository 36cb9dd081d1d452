//! Why a table of iptables-legacy can't be read.

use std::io;

use ruleward_core::names::{Family, Table};
use rustix::io::Errno;
use thiserror::Error;

use crate::set_index::SetIndexError;

/// Why a table of iptables-legacy can't be read.
#[derive(Debug, Error)]
pub enum LegacyError {
    /// The process lacks the capability.
    #[error("reading iptables-legacy tables needs CAP_NET_ADMIN in this network namespace: run as root")]
    Permission,
    /// There is no socket, namespace or list of tables to be had.
    #[error("{what} for reading iptables-legacy tables failed: {source}")]
    Open {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refuses the question.
    #[error("asking the kernel for iptables-legacy's {family} {table} table failed: {source}")]
    Ask {
        /// Of which family.
        family: Family,
        /// Which table.
        table: Table,
        /// The kernel's reason.
        source: Errno,
    },
    /// Someone wrote during each attempt to read.
    #[error("iptables-legacy's {family} {table} table changed during each of {attempts} attempts to read it")]
    Changing {
        /// Of which family.
        family: Family,
        /// Which table.
        table: Table,
        /// How often it was tried.
        attempts: usize,
    },
    /// It is not written as iptables writes tables.
    #[error(
        "iptables-legacy's {family} {table} table, at byte {offset}: {reason}; a program other than iptables wrote it, or \
         this kernel lays tables out in another way"
    )]
    Malformed {
        /// Of which family.
        family: Family,
        /// Which table.
        table: Table,
        /// Where the entry begins.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The name of a set that a rule uses is not to be had.
    #[error(transparent)]
    Sets(#[from] SetIndexError),
}

impl LegacyError {
    pub(super) fn open(what: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission,
            _ => Self::Open { what, source },
        }
    }

    pub(super) fn ask(family: Family, table: Table, source: Errno) -> Self {
        match source {
            Errno::PERM | Errno::ACCESS => Self::Permission,
            _ => Self::Ask { family, table, source },
        }
    }
}
