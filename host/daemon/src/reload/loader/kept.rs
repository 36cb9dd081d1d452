//! What is kept in the state directory for the case that files break: the configuration, and the components. What could
//! not be kept is tried again; what is not needed any more is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::names::PolicyName;

use super::Loader;
use crate::config::Config;
use ruleward_sandbox::{ComponentBytes, components};
use ruleward_state::StateWriter;

/// Of so many components that were in force before the compiled code is kept.
const MOST_RECENT: usize = 4;

impl Loader {
    /// For a start with files that are wrong.
    pub fn keep_configuration(&mut self) {
        let since = self.unkept.as_ref().map_or_else(SystemTime::now, |(since, _)| *since);
        let unkept = self.config.keep().err().map(|error| (since, error.to_string()));
        self.changed |= self.unkept != unkept;
        self.unkept = unkept;
    }

    /// Keeps what could not be kept before, or is gone from the disk. Whether anything is left to try again.
    pub(super) fn keep_again(&mut self) -> bool {
        let (config, in_files) = (Arc::clone(&self.config), self.refusal.is_none() && self.wrong_since.is_none());
        if in_files && (self.unkept.is_some() || !Config::is_kept(&config.state_directory)) {
            self.keep_configuration();
        }
        for (name, slot) in &self.slots {
            let Some(digest) = slot.digest().filter(|_| !slot.is_loading()) else { continue };
            if components::is_kept(&config.state_directory, digest) {
                continue;
            }
            // Other bytes are on their way here already.
            let Ok(component) = ComponentBytes::read(slot.component()) else { continue };
            let kept = if component.digest == digest {
                components::keep(&config.state_directory, &component)
            } else {
                continue;
            };
            self.changed |= note_unkept(&mut self.unkept_components, name, kept.err().map(|error| error.to_string()));
        }
        self.unkept.is_some() || !self.unkept_components.is_empty()
    }

    /// Removes what is kept of components that are neither in force nor on their way. Compiled code of the last ones stays:
    /// who goes back to them does not wait for a compiler.
    pub fn prune(&mut self, mut in_force: BTreeSet<String>) {
        self.recent.retain(|digest| !in_force.contains(digest));
        self.recent.extend(in_force.iter().cloned());
        let surplus = self.recent.len().saturating_sub(in_force.len() + MOST_RECENT);
        self.recent.drain(..surplus);
        if !self.is_idle() {
            return; // some other time
        }
        self.recalled.retain(|_, version| in_force.contains(version.loaded().digest()));
        in_force.extend(self.slots.values().filter_map(|slot| slot.digest().map(ToOwned::to_owned)));
        in_force.extend(self.pins.components());
        prune_components(&self.config.state_directory, &self.state, &in_force);
        in_force.extend(self.recent.iter().cloned());
        let keep: Vec<&str> = in_force.iter().map(String::as_str).collect();
        if let Err(error) = self.engine.prune_cache(&keep) {
            tracing::debug!("compiled components that are not needed any more could not be removed: {error}");
        }
    }
}

/// Whether anything is otherwise than before.
pub(super) fn note_unkept(
    unkept: &mut BTreeMap<PolicyName, (SystemTime, String)>,
    policy: &PolicyName,
    reason: Option<String>,
) -> bool {
    let Some(reason) = reason else { return unkept.remove(policy).is_some() };
    let before = unkept.get(policy).cloned();
    if before.is_none() {
        tracing::warn!("policy {policy}: its component can't be saved for a start with a broken file: {reason}");
    }
    let now = (before.as_ref().map_or_else(SystemTime::now, |(since, _)| *since), reason);
    let news = before.as_ref() != Some(&now);
    unkept.insert(policy.clone(), now);
    news
}

/// Removes all components but these, and those that the history names, from those that are kept.
pub fn prune_components(state_directory: &Path, state: &StateWriter, keep: &BTreeSet<String>) {
    let Some(named) = state.named_components() else { return }; // some other time
    let keep: Vec<&str> = keep.union(&named).map(String::as_str).collect();
    if let Err(error) = components::prune(state_directory, &keep) {
        tracing::debug!("components that are not needed any more could not be removed: {error}");
    }
}
