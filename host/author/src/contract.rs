//! The contract between the host and policies, as text and as a world that a policy implements.

use thiserror::Error;
use wit_parser::{Resolve, WorldId};

/// `wit/policy.wit`.
pub const WIT: &str = include_str!("../../../wit/policy.wit");
/// The world that a policy implements.
const WORLD: &str = "policy";

/// The contract can't be read.
#[derive(Debug, Error)]
#[error("the contract in this program can't be read: {0}")]
pub struct ContractError(String);

/// The contract, and the world that a policy implements.
///
/// # Errors
/// [`ContractError`]; a test shows that it does not happen.
pub fn world() -> Result<(Resolve, WorldId), ContractError> {
    let wrong = |error: &dyn std::fmt::Display| ContractError(format!("{error:#}"));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", WIT).map_err(|error| wrong(&error))?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| wrong(&error))?;
    Ok((resolve, world))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_contract_can_be_read() {
        super::world().unwrap();
    }
}
