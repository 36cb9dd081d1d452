//! Pins on disk: `pins/POLICY.pin` in the state directory, each a policy that stays at an earlier version. A pin has that
//! version, and a digest of the configuration when it was made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use ruleward_files::private_dir::{PrivateDir, PrivateError};
use ruleward_files::sealed;
use ruleward_sandbox::Limits;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Of the files.
const FORMAT: u32 = 1;
/// Ends the names of files.
const SUFFIX: &str = ".pin";
/// Largest file that is read, bytes: as much as a configuration file.
const LARGEST: u64 = 64 << 20;

/// What is held, and against what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pin {
    /// Whose.
    pub policy: PolicyName,
    /// The record that it was made from: `web@17`.
    pub record: String,
    /// Since when: RFC 3339, UTC.
    pub since: String,
    /// In the words of whoever made it; may be empty.
    pub why: String,
    /// Digest of the component that is held.
    pub component: String,
    /// As the policy is to get them: JSON.
    pub settings: String,
    /// What it may own and read.
    pub grants: Grants,
    /// What a call may use.
    pub limits: Limits,
    /// What the configuration asked for; a digest.
    pub against: String,
    /// Digest of the component that the configuration named; none if it could not be read.
    pub against_component: Option<String>,
}

/// Why a pin can't be read, written or removed.
#[derive(Debug, Error)]
pub enum PinError {
    /// The folder or the file can't be used.
    #[error(transparent)]
    Storage(#[from] PrivateError),
    /// It is not what was written.
    #[error("{} is damaged; the pin does not count; `ruleward policy rollback --release` removes it", .0.display())]
    Damaged(PathBuf),
    /// It can't be written as JSON.
    #[error("the pin can't be written as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
}

fn folder(state_directory: &Path) -> Result<PrivateDir, PrivateError> {
    PrivateDir::open(&state_directory.join("pins"))
}

fn name(policy: &PolicyName) -> OsString {
    OsString::from(format!("{policy}{SUFFIX}"))
}

/// Writes `pin`, in place of an earlier one.
///
/// # Errors
/// When it can't be written; the earlier one is still there then.
pub fn write(state_directory: &Path, pin: &Pin) -> Result<(), PinError> {
    let sealed = sealed::seal(FORMAT, pin)?;
    Ok(folder(state_directory)?.replace_with(&name(&pin.policy), |file| sealed.write(file))?)
}

/// Removes the pin of `policy`. Whether there was one.
///
/// # Errors
/// When it is there and can't be removed.
pub fn remove(state_directory: &Path, policy: &PolicyName) -> Result<bool, PinError> {
    if !state_directory.join("pins").exists() {
        return Ok(false);
    }
    let folder = folder(state_directory)?;
    let there = folder.names()?.contains(&name(policy));
    folder.remove(&name(policy))?;
    Ok(there)
}

/// The pin of `policy`.
///
/// # Errors
/// When there is one that can't be believed.
pub fn read(state_directory: &Path, policy: &PolicyName) -> Result<Option<Pin>, PinError> {
    let folder = folder(state_directory)?;
    let Some(file) = folder.file(&name(policy))? else { return Ok(None) };
    let damaged = || PinError::Damaged(folder.path().join(name(policy)));
    let pin: Pin = sealed::open(FORMAT, file, LARGEST).map_err(|_| damaged())?;
    if pin.policy == *policy { Ok(Some(pin)) } else { Err(damaged()) }
}

/// Policies of which there are pins, by name.
///
/// # Errors
/// When the folder can't be read, or is not ours.
pub fn policies(state_directory: &Path) -> Result<Vec<PolicyName>, PrivateError> {
    if matches!(state_directory.join("pins").try_exists(), Ok(false)) {
        return Ok(Vec::new());
    }
    let names = folder(state_directory)?.names()?;
    let mut policies: Vec<PolicyName> =
        names.iter().filter_map(|name| PolicyName::new(name.to_str()?.strip_suffix(SUFFIX)?).ok()).collect();
    policies.sort();
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleward_files::private_dir::power::lost_at_each_step;

    fn pin() -> Pin {
        Pin {
            policy: PolicyName::new("web").unwrap(),
            record: "web@1".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            why: "it was right".to_owned(),
            component: "sha256:1".to_owned(),
            settings: "{\"a\":1}".to_owned(),
            grants: Grants::default(),
            limits: Limits::default(),
            against: "sha256:2".to_owned(),
            against_component: None,
        }
    }

    /// Whenever the power goes, the policy is held at the earlier or at the new version, or no longer held.
    #[test]
    fn a_power_loss_leaves_the_earlier_pin_or_the_new_one() {
        let (old, web) = (pin(), PolicyName::new("web").unwrap());
        let new = Pin { record: "web@2".to_owned(), ..old.clone() };
        lost_at_each_step(
            |state| write(state, &old).unwrap(),
            |state, ()| write(state, &new).unwrap(),
            |state, (), ended| {
                let found = read(state, &web).unwrap();
                assert!(found.as_ref() == Some(&new) || (found.as_ref() == Some(&old) && !ended), "{found:?}");
            },
        );
        let steps = lost_at_each_step(
            |state| write(state, &old).unwrap(),
            |state, ()| assert!(remove(state, &web).unwrap()),
            |state, (), ended| {
                let found = read(state, &web).unwrap();
                assert!(found.is_none() || (found == Some(old.clone()) && !ended), "{found:?}");
                remove(state, &web).unwrap();
                assert_eq!(read(state, &web).unwrap(), None);
            },
        );
        assert_eq!(steps, ["remove", "sync the folder"]);
    }
}
