//! Pins: a policy held at an earlier version by `ruleward policy rollback`, in place of what the configuration asks for.
//!
//! A pin ([`Pin`]) has the version, and a digest of the configuration when it was made. It ends with the next change of
//! that configuration. A component that can't be read for the moment is no change. The pinned version is rehearsed like
//! any other.

use std::collections::{BTreeMap, BTreeSet};

use ruleward_core::names::PolicyName;

use super::stamp::Stamp;
use crate::config::{Config, Mode, PolicyConfig};
use ruleward_files::digest;
use ruleward_report::PinReport;
use ruleward_sandbox::{ComponentBytes, components};
use ruleward_state::pins::{self, Pin, PinError};

/// What a configuration asks for, its component's bytes apart, as a digest.
pub fn wanted(policy: &PolicyConfig) -> String {
    let parts = (&policy.component, &*policy.settings, &policy.grants, &policy.limits);
    // A path that is no text is changed in a way of its own: then the pin is for nothing.
    digest::of_json(&parts)
}

/// Digest of the component that a configuration names, if it can be read.
pub fn component(policy: &PolicyConfig) -> Option<String> {
    ComponentBytes::read(&policy.component).ok().map(|component| component.digest)
}

/// The pins that count.
#[derive(Debug, Default)]
pub struct Pins {
    pins: BTreeMap<PolicyName, Pin>,
    /// What the configuration's components were when they were read last.
    seen: BTreeMap<PolicyName, (Stamp, Option<String>)>,
    /// What there is to say, one sentence each.
    pub notes: Vec<String>,
}

impl Pins {
    /// Looks which pins count with `config`. `ends`: those that have ended are removed. Whether anything is otherwise than
    /// before.
    pub fn look(&mut self, config: &Config, ends: bool) -> bool {
        let (before, notes) = (std::mem::take(&mut self.pins), std::mem::take(&mut self.notes));
        let named = pins::policies(&config.state_directory).unwrap_or_else(|error| {
            // What can't be read is not gone: what is held stays held.
            self.notes.push(format!("pins of policies can't be read: {error}"));
            before.keys().cloned().collect()
        });
        for policy in named {
            let pin = match (pins::read(&config.state_directory, &policy), before.get(&policy)) {
                (Ok(Some(pin)), _) => pin,
                (Ok(None), _) => continue,
                (Err(error @ PinError::Storage(_)), Some(known)) => {
                    self.notes.push(format!("policy {policy}: it stays pinned to {}: {error}", known.record));
                    known.clone()
                }
                (Err(error), _) => {
                    self.notes.push(format!("policy {policy}: {error}"));
                    continue;
                }
            };
            match self.holds(&pin, config) {
                Ok(true) => drop(self.pins.insert(policy, pin)),
                Ok(false) => {
                    tracing::info!(
                        "policy {policy}: its configuration has changed, so the pin to {} has ended",
                        pin.record
                    );
                    if ends && let Err(error) = pins::remove(&config.state_directory, &policy) {
                        tracing::warn!("policy {policy}: its pin can't be removed: {error}");
                    }
                }
                Err(reason) => self.notes.push(format!("policy {policy} can't be pinned to {}: {reason}", pin.record)),
            }
        }
        self.seen.retain(|policy, _| self.pins.contains_key(policy));
        before != self.pins || notes != self.notes
    }

    /// Whether `pin` still counts.
    ///
    /// # Errors
    /// Why it can't, although nothing else was asked for.
    fn holds(&mut self, pin: &Pin, config: &Config) -> Result<bool, String> {
        let Some(policy) = config.policies.get(&pin.policy).filter(|policy| policy.mode == Mode::Enforce) else {
            return Ok(false);
        };
        let known = self.seen.get(&pin.policy).filter(|(stamp, _)| stamp.holds(&policy.component));
        let found = match known {
            Some((_, found)) => found.clone(),
            None => {
                let stamp = Stamp::of(&policy.component);
                let found = component(policy);
                self.seen.insert(pin.policy.clone(), (stamp, found.clone()));
                found
            }
        };
        if wanted(policy) != pin.against || (found.is_some() && found != pin.against_component) {
            return Ok(false);
        }
        components::load(&config.state_directory, &pin.component).map_err(|error| error.to_string())?;
        let mut policies = self.effective(config);
        policies.insert(pin.policy.clone(), held(pin, policy, config));
        match Config::overlap(&policies) {
            Some((one, other, what)) => Err(format!("{one} and {other} would both own {what}")),
            None => Ok(true),
        }
    }

    /// The configuration's policies, with what is held in place of what was asked for.
    pub fn effective(&self, config: &Config) -> BTreeMap<PolicyName, PolicyConfig> {
        let mut policies = config.policies.clone();
        for (name, pin) in &self.pins {
            if let Some(policy) = policies.get_mut(name) {
                *policy = held(pin, policy, config);
            }
        }
        policies
    }

    /// Digests of the components that are held.
    pub fn components(&self) -> BTreeSet<String> {
        self.pins.values().map(|pin| pin.component.clone()).collect()
    }

    /// Policies that are held.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.pins.keys()
    }

    /// For `status`.
    pub fn report(&self) -> BTreeMap<PolicyName, PinReport> {
        let one = |pin: &Pin| PinReport { record: pin.record.clone(), since: pin.since.clone(), why: pin.why.clone() };
        self.pins.iter().map(|(name, pin)| (name.clone(), one(pin))).collect()
    }
}

/// The configuration of a policy that is held. Its limits are those of then, as far as the ceiling of now allows.
fn held(pin: &Pin, policy: &PolicyConfig, config: &Config) -> PolicyConfig {
    PolicyConfig {
        component: components::path(&config.state_directory, &pin.component),
        settings: pin.settings.as_str().into(),
        grants: pin.grants.clone(),
        limits: pin.limits.clone().capped(&config.limits_ceiling),
        ..policy.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::config::Source;
    use ruleward_core::grants::Grants;
    use ruleward_sandbox::Limits;

    /// A configuration with the policy `web`, whose component is `web.wasm` beside it, and `other`.
    fn config(folder: &Path, more: &str) -> Config {
        let file = folder.join("ruleward.toml");
        let text = format!(
            "state-directory = \"state\"\n[policies.web]\ncomponent = \"./web.wasm\"\n{more}\n\
             [policies.other.grants]\ntables = [\"nat\"]\nchains = [\"other-*\"]\n"
        );
        Config::parse(&file, &[Source { file: file.clone(), text }]).unwrap()
    }

    fn pin(config: &Config, chains: &str) -> Pin {
        let old = ComponentBytes::from(b"\0asm\x0d\0\x01\0".to_vec());
        components::keep(&config.state_directory, &old).unwrap();
        let web = PolicyName::new("web").unwrap();
        let configured = &config.policies[&web];
        let grants: Grants =
            serde_json::from_str(&format!("{{\"tables\":[\"nat\"],\"chains\":[\"{chains}\"]}}")).unwrap();
        Pin {
            policy: web,
            record: "web@1".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            why: "it was right".to_owned(),
            component: old.digest,
            settings: "{\"a\":1}".to_owned(),
            grants,
            limits: Limits::default().with(ruleward_sandbox::Limit::Rules, 7),
            against: wanted(configured),
            against_component: component(configured),
        }
    }

    #[test]
    fn a_pin_counts_until_something_else_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let web = PolicyName::new("web").unwrap();
        std::fs::write(folder.path().join("web.wasm"), b"\0asm\x0d\0\x01\0\0\x01\0").unwrap();
        let before = config(folder.path(), "");
        let state = &before.state_directory;
        let mut pins = Pins::default();
        assert!(!pins.look(&before, true), "there is none");
        let pin = pin(&before, "web-*");
        pins::write(state, &pin).unwrap();
        assert_eq!(pins::read(state, &web).unwrap().as_ref(), Some(&pin));
        assert!(pins.look(&before, true));
        assert!(!pins.look(&before, true), "nothing is new");
        let held = &pins.effective(&before)[&web];
        assert_eq!((held.settings.to_string().as_str(), &held.grants), ("{\"a\":1}", &pin.grants));
        assert_eq!(held.component, components::path(state, &pin.component));
        assert_eq!(held.limits, pin.limits);

        // A component that can't be read is no change, other bytes are.
        std::fs::write(folder.path().join("web.wasm"), "").unwrap();
        assert!(!pins.look(&before, true));
        std::fs::write(folder.path().join("web.wasm"), b"\0asm\x0d\0\x01\0\0\x01\x01").unwrap();
        assert!(pins.look(&before, false) && pins.effective(&before) == before.policies);
        assert!(pins::read(state, &web).unwrap().is_some(), "it was to stay");
        pins.look(&before, true);
        assert!(pins::read(state, &web).unwrap().is_none());
    }

    #[test]
    fn what_is_held_stays_below_the_ceiling() {
        let folder = tempfile::tempdir().unwrap();
        let before = config(folder.path(), "");
        let pin = pin(&before, "web-*");
        pins::write(&before.state_directory, &pin).unwrap();
        let mut lowered = before.clone();
        lowered.limits_ceiling = [(ruleward_sandbox::Limit::Rules, 5)].into();
        let mut pins = Pins::default();
        assert!(pins.look(&lowered, true));
        let limits = &pins.effective(&lowered)[&pin.policy].limits;
        assert_eq!(*limits, pin.limits.clone().with(ruleward_sandbox::Limit::Rules, 5));
    }

    #[test]
    fn other_settings_end_it_and_so_does_switching_off() {
        let folder = tempfile::tempdir().unwrap();
        for more in ["settings.a = 2", "limits.rules = 9", "mode = \"off\"", "mode = \"shadow\""] {
            let before = config(folder.path(), "");
            let pin = pin(&before, "web-*");
            pins::write(&before.state_directory, &pin).unwrap();
            let mut pins = Pins::default();
            assert!(pins.look(&before, true), "{more}");
            let after = config(folder.path(), more);
            assert!(pins.look(&after, true) && pins.effective(&after) == after.policies, "{more}");
            assert!(!pins::remove(&after.state_directory, &pin.policy).unwrap(), "{more}");
        }
    }

    #[test]
    fn what_can_not_be_held_is_told_and_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "");
        let told = |words: &str| {
            let mut pins = Pins::default();
            assert!(pins.look(&config, true));
            assert!(pins.notes.iter().any(|note| note.contains(words)), "{:?}", pins.notes);
            assert_eq!(pins.effective(&config), config.policies);
        };
        let overlapping = pin(&config, "other-x");
        pins::write(&config.state_directory, &overlapping).unwrap();
        told("would both own");
        let path = components::path(&config.state_directory, &overlapping.component);
        pins::write(&config.state_directory, &pin(&config, "web-*")).unwrap();
        std::fs::write(&path, b"\0asm\x0d\0\x01\x01").unwrap();
        told("damaged");
        let file = config.state_directory.join("pins/web.pin");
        let text = std::fs::read_to_string(&file).unwrap().replace("it was right", "it was wrong");
        std::fs::write(&file, text).unwrap();
        told("is damaged");
    }
}
