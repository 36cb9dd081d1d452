//! Reads the facts that policies may see: the node's name, the kernel, the network interfaces, resources.
//!
//! Everything is read afresh and comes out sorted, so that the same node gives the same facts. Interfaces are those
//! of the calling thread's network namespace. Either all of it is read or there is an error: half a picture would
//! look to a policy as if pools or addresses had been deleted. The caller then keeps its last good facts.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
mod background_reader;
pub mod change_counter;
pub mod changes;
mod collector;
mod directory;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod interfaces;
mod node;
mod resources;
mod rtnetlink;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::names::Backend;
use thiserror::Error;

use ruleward_kernel::nft_tables::nft_tables;

pub use background_reader::Reader;
pub use collector::{Origin, ResourceCollector};
pub use interfaces::read_interfaces;
pub use node::{host_name, kernel_version};
pub use resources::{Problem, ResourceSet, ResourcesError, read_resource_file, read_resources};

/// What the reader of the facts is told.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The configured name of the node; the host name when `None`.
    pub node_name: Option<&'a str>,
    /// The directory of resources.
    pub resources: &'a Path,
    /// Whether a policy may read any; if none may, a missing directory is no remark.
    pub wants_resources: bool,
    /// The installed iptables, as found by the kernel edge.
    pub iptables: Version,
    /// The backend in use.
    pub backend: Backend,
    /// The families in use.
    pub families: Families,
}

/// Facts, and what an operator should know about how they came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The facts.
    pub facts: Facts,
    /// Remarks, such as a directory that does not exist.
    pub notes: Vec<String>,
    /// The resources are from an earlier reading that took long: what has changed since may be missing.
    pub late: bool,
}

/// Why there are no facts.
#[derive(Debug, Error)]
pub enum FactsError {
    /// The host has no usable name.
    #[error("the host name {name:?} can't be a node's name; set node-name in the configuration")]
    HostName {
        /// What the kernel says.
        name: String,
    },
    /// The kernel's release is not a version.
    #[error("the kernel's release {release:?} doesn't begin with a version such as 6.1")]
    KernelVersion {
        /// What the kernel says.
        release: String,
    },
    /// Interfaces could not be listed.
    #[error("can't list the network interfaces: {0}")]
    Interfaces(#[source] std::io::Error),
    /// Resources could not be read, or are wrong.
    #[error(transparent)]
    Resources(#[from] ResourcesError),
    /// Reading them does not end.
    #[error(
        "the resources in {} are being read for {} s now, and the file system does not answer; mount it anew, or set \
         `resources` to another folder",
        .folder.display(), .since.as_secs()
    )]
    NoAnswer {
        /// Their folder.
        folder: PathBuf,
        /// Since when.
        since: Duration,
    },
    /// nf_tables could not be asked.
    #[error("can't list the tables of nf_tables: {0}")]
    NftTables(#[source] std::io::Error),
    /// They could not be read apart.
    #[error("no thread can be started to read the resources: {0}")]
    NoThread(#[source] std::io::Error),
}

/// Reads all facts; resources by `reader`.
///
/// # Errors
/// [`FactsError`] when any part can't be read.
pub fn read(options: &Options<'_>, reader: &mut Reader) -> Result<Reading, FactsError> {
    let node_name = match options.node_name {
        Some(name) => name.to_owned(),
        None => host_name()?,
    };
    let system = System {
        kernel: kernel_version()?,
        iptables: options.iptables,
        backend: options.backend,
        families: options.families,
    };
    let interfaces = read_interfaces()?;
    let nft_tables = nft_tables().map_err(FactsError::NftTables)?;
    let background_reader::Read { resources: ResourceSet { resources, mut notes }, late } =
        reader.read(options.resources)?;
    if !options.wants_resources {
        notes.clear();
    }
    Ok(Reading { facts: Facts { node_name, system, interfaces, resources, nft_tables }, notes, late })
}
