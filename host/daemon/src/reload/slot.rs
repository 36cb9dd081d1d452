//! What is known of one configured policy: its component's file as it was read last, and the version that came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;

use super::stamp::Stamp;
use crate::config::{ConfigFile, Place, PolicyConfig};
use ruleward_reconcile::policies::{PolicySpec, SpecState, Version, identity};
use ruleward_sandbox::{ComponentBytes, FileError, Limits, LoadError, LoadedPolicy};

/// A file that is cut off or absent may be in the middle of being written: it is looked at again after this time before
/// it counts.
pub const SETTLING: Duration = Duration::from_secs(1);

/// What the configuration wants of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    component: PathBuf,
    settings: Arc<str>,
    grants: Grants,
    limits: Limits,
}

/// One policy.
#[derive(Debug)]
pub struct Slot {
    pub name: PolicyName,
    wanted: Wanted,
    /// Where the settings are written, for refusals.
    place: Place,
    stamp: Option<Stamp>,
    /// Of the bytes that were read last.
    digest: Option<String>,
    loaded: Option<LoadedPolicy>,
    state: SpecState,
    /// The refusal is of the moment: the same bytes may be taken later.
    passing: bool,
    /// Since when the file is one that may be in the middle of being written.
    unsettled: Option<Instant>,
    /// It stands otherwise than when it was asked last.
    news: bool,
}

/// What is to be done for a slot.
pub enum Next {
    Nothing,
    /// Load these bytes.
    Load(ComponentBytes),
    /// Look again after this time.
    LookAgain(Duration),
}

impl Slot {
    /// Nothing is known yet.
    pub fn new(name: &PolicyName, policy: &PolicyConfig) -> Self {
        Self {
            name: name.clone(),
            wanted: Wanted::from(policy),
            place: policy.place.clone(),
            stamp: None,
            digest: None,
            loaded: None,
            state: SpecState::Loading { digest: None },
            passing: false,
            unsettled: None,
            news: true,
        }
    }

    /// Whether it stands otherwise than when this was asked last.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    pub fn component(&self) -> &PathBuf {
        &self.wanted.component
    }

    pub fn limits(&self) -> &Limits {
        &self.wanted.limits
    }

    pub fn spec(&self) -> PolicySpec {
        let Wanted { settings, grants, limits, .. } = &self.wanted;
        PolicySpec {
            grants: grants.clone(),
            settings: Arc::clone(settings),
            limits: limits.clone(),
            state: self.state.clone(),
        }
    }

    pub fn is_loading(&self) -> bool {
        matches!(self.state, SpecState::Loading { .. })
    }

    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Of the version that is to be in force, if that is known.
    pub fn id(&self) -> Option<String> {
        let Wanted { settings, grants, limits, .. } = &self.wanted;
        Some(identity(self.digest.as_deref()?, settings, grants, limits))
    }

    /// The configuration wants something else, or the same.
    pub fn want(&mut self, policy: &PolicyConfig) {
        self.place = policy.place.clone();
        let wanted = Wanted::from(policy);
        if wanted == self.wanted {
            return;
        }
        self.news = true;
        if wanted.component != self.wanted.component {
            self.stamp = None; // another file, and maybe the same bytes
        }
        self.wanted = wanted;
        if self.loaded.is_some() {
            self.make_version();
        } else if !self.is_loading() {
            self.digest = None; // with other limits it may be loaded
            self.stamp = None;
        }
    }

    /// Looks at the file. `thorough`: at its bytes in any case, and what was refused is tried again.
    pub fn look(&mut self, thorough: bool, now: Instant) -> Next {
        let again = self.passing || (thorough && self.loaded.is_none() && !self.is_loading());
        if !thorough && !again && self.stamp.is_some_and(|stamp| stamp.holds(&self.wanted.component)) {
            return Next::Nothing;
        }
        let stamp = Stamp::of(&self.wanted.component);
        match ComponentBytes::read(&self.wanted.component) {
            Ok(component) => {
                (self.stamp, self.unsettled) = (Some(stamp), None);
                let same = self.digest.as_ref() == Some(&component.digest);
                if same && !again {
                    // The file may have been another one meanwhile.
                    if let (Some(_), SpecState::Refused { .. }) = (&self.loaded, &self.state) {
                        self.make_version();
                    }
                    return Next::Nothing;
                }
                self.digest = Some(component.digest.clone());
                self.loaded = None;
                self.passing = false;
                self.state = SpecState::Loading { digest: self.digest.clone() };
                self.news = true;
                Next::Load(component)
            }
            Err(error) => self.unreadable(&error, thorough, now),
        }
    }

    fn unreadable(&mut self, error: &FileError, thorough: bool, now: Instant) -> Next {
        let since = *self.unsettled.get_or_insert(now);
        let left = SETTLING.saturating_sub(now.saturating_duration_since(since));
        if may_be_half_written(error) && self.loaded.is_some() && !thorough && !left.is_zero() {
            self.stamp = None;
            return Next::LookAgain(left);
        }
        self.stamp = None; // reading it may succeed without any change of it: asked at each look
        let reason = format!("the component {} {error}", self.wanted.component.display());
        self.refuse(None, reason, error.to_string());
        Next::Nothing
    }

    /// Loading has ended. Nothing happens if other bytes have been read meanwhile.
    pub fn loaded(&mut self, digest: &str, result: Result<LoadedPolicy, LoadError>) {
        if self.digest.as_deref() != Some(digest) || !self.is_loading() {
            return;
        }
        match result {
            Ok(loaded) => {
                self.loaded = Some(loaded);
                self.make_version();
            }
            Err(error) => {
                self.passing = error.problem.is_passing();
                self.refuse(
                    Some(digest.to_owned()),
                    format!("the component {} {}", error.path.display(), error.problem),
                    error.problem.to_string(),
                );
            }
        }
    }

    fn make_version(&mut self) {
        let Some(loaded) = &self.loaded else { return };
        let settings = serde_json::from_str(&self.wanted.settings).unwrap_or_default();
        if let Err(error) = loaded.check_settings(&settings) {
            let (digest, reason) = (loaded.digest().to_owned(), format!("{}: {error}", self.place));
            return self.refuse(Some(digest), reason, error.to_string());
        }
        let Wanted { settings, grants, limits, .. } = self.wanted.clone();
        let version = Version::new(self.name.clone(), loaded.with_limits(&limits), settings, grants);
        let version = version.located_by(Arc::new(ConfigFile(self.place.file.clone())));
        // The very same one stays what it is.
        let same = matches!(&self.state, SpecState::Loaded(own) if own.id() == version.id());
        if !same {
            self.state = SpecState::Loaded(Arc::new(version));
            self.news = true;
        }
    }

    fn refuse(&mut self, digest: Option<String>, reason: String, cause: String) {
        let news = !matches!(&self.state, SpecState::Refused { reason: known, .. } if *known == reason);
        self.news |= news;
        if news {
            tracing::error!("policy {}: {reason}", self.name);
        }
        self.state = SpecState::Refused { digest, reason, cause };
    }
}

fn may_be_half_written(error: &FileError) -> bool {
    match error {
        FileError::Empty | FileError::Truncated { .. } => true,
        FileError::Unreadable(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

impl From<&PolicyConfig> for Wanted {
    fn from(policy: &PolicyConfig) -> Self {
        Self {
            component: policy.component.clone(),
            settings: Arc::clone(&policy.settings),
            grants: policy.grants.clone(),
            limits: policy.limits.clone(),
        }
    }
}
