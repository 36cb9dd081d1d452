//! The versions of the contract that this host serves. Nothing outside a version's folder knows its types: facts are lowered
//! and answers lifted there. Another version is another folder and another line of [`SERVED`].

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::limit::{Limits, Usage};
use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use super::description::{Description, DescriptionError};
use super::evaluate::Cause;
use super::guest::Guest;
use super::v0_1;

/// The package that policies implement.
pub const PACKAGE: &str = "ruleward:policy";

/// From the oldest to the newest.
pub const SERVED: [&Version; 1] = [&v0_1::VERSION];

/// One version of the contract.
#[derive(Debug)]
pub struct Version {
    /// As it stands behind the `@`.
    pub number: &'static str,
    /// Its interfaces that policies may import.
    pub interfaces: &'static [&'static str],
    /// Makes what policies may import.
    pub serve: fn(&mut Linker<Guest>) -> wasmtime::Result<()>,
    /// Finds the functions that policies export, and compares their types.
    pub link: fn(InstancePre<Guest>) -> wasmtime::Result<Box<dyn Linked>>,
}

/// What a policy is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The node.
    pub facts: &'a Facts,
    /// What the operator grants.
    pub grants: &'a Grants,
    /// JSON.
    pub settings: &'a str,
    /// What the policy says of itself.
    pub description: &'a Description,
    /// What input and answer may have.
    pub limits: &'a Limits,
}

/// A policy of some version, ready for instances. Each call makes one.
pub trait Linked: Send + Sync {
    /// An instance, and nothing more.
    ///
    /// # Errors
    /// When there can't be one.
    fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<()>;

    /// What the policy says of itself.
    ///
    /// # Errors
    /// When the call does not come back.
    fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<Result<Description, DescriptionError>>;

    /// What the policy answers: to be lifted when its memory has been given back. The size of input and answer is taken
    /// down in `usage`.
    ///
    /// # Errors
    /// When the call does not come back.
    fn evaluate(&self, store: &mut Store<Guest>, question: &Question<'_>, usage: &mut Usage) -> wasmtime::Result<Lift>;
}

/// Makes what the host knows of what a policy answered.
pub type Lift = Box<dyn FnOnce() -> Result<Contribution, Cause>>;

/// The version with this number.
pub fn version(number: &str) -> Option<&'static Version> {
    SERVED.into_iter().find(|version| version.number == number)
}

/// The newest.
pub fn newest() -> &'static Version {
    let [.., newest] = SERVED;
    newest
}

/// All, for people: `0.1.0 and 0.2.0`.
pub fn served() -> String {
    SERVED.map(|version| version.number).join(" and ")
}
