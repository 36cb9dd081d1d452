//! What is known of sets without listing their members. No event tells of a set: rules are repaired first, after a look at
//! the outlines, which takes microseconds whatever the sets hold. Whether members were exchanged one for one takes a walk
//! through all of them; where there are many it runs beside everything else, and rarely.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ruleward_core::expected::Expected;
use ruleward_core::names::SetName;
use ruleward_core::observed::Observed;
use ruleward_core::sets::{self, ObservedSet};

use super::keeper::Keeper;
use ruleward_kernel::observe::ObserveError;
use ruleward_kernel::port::{Depth, Depths, Port};

/// So many members are walked through at once; it takes a few milliseconds.
const FEW: usize = 20_000;
/// After a walk there is none for so many times as long as it took.
const REST: u32 = 20;
/// How often a set of another program is looked for that rules wait for.
const SEEK: Duration = Duration::from_secs(1);
/// How often a walk is looked after.
const LOOK: Duration = Duration::from_millis(10);

/// What is known of the sets.
#[derive(Default)]
pub(super) struct SetWatch {
    /// What they were when they were last compared: all of them, and their outlines.
    members: Option<u64>,
    outlines: Option<u64>,
    /// The sets as they were listed when they were `members`.
    listed: Option<(u64, BTreeMap<String, ObservedSet>)>,
    walk: Option<(JoinHandle<Option<u64>>, Instant)>,
    /// Somebody may have changed members.
    wanted: bool,
    /// Somebody has: they are read when the rules are repaired.
    to_read: bool,
    not_before: Option<Instant>,
}

fn depth(expected: &Expected, name: &str, most: Depth) -> Option<Depth> {
    if !expected.ownership.owns_set(name) {
        return None;
    }
    // What rules add and take away is nobody's change.
    let dynamic = SetName::new(name).is_ok_and(|name| expected.sets.get(&name).is_some_and(|set| set.dynamic));
    Some(if dynamic { Depth::Outline } else { most })
}

fn digest(port: &dyn Port, expected: &Expected, most: Depth) -> Option<u64> {
    if !expected.ownership.any_sets() {
        return Some(0);
    }
    port.sets_digest(&|name| depth(expected, name, most))
}

impl Keeper {
    /// Whether the sets are surely as they were when they were last compared.
    pub fn sets_unchanged(&self, port: &dyn Port, expected: &Expected) -> bool {
        self.sets.members.is_some() && self.sets.members == digest(port, expected, Depth::Members)
    }

    /// Whether a repair of rules has to look at the sets as well. Where that takes long it is done later.
    pub fn sets_concern_now(&mut self, port: &dyn Port, expected: &Expected) -> bool {
        if self.filling {
            return false;
        }
        let many = expected.sets.values().filter(|set| !set.dynamic).map(|set| set.members.len()).sum::<usize>() > FEW;
        if !many {
            return !self.sets_unchanged(port, expected);
        }
        self.sets.wanted = true;
        self.sets.to_read |= self.sets.outlines.is_none() || self.sets.outlines != digest(port, expected, Depth::Count);
        false
    }

    /// Goes on looking whether members were exchanged. True: they were, and the sets have to be read.
    pub fn sets_were_changed(&mut self, port: &dyn Port, expected: &Arc<Expected>) -> bool {
        let now = Instant::now();
        if std::mem::take(&mut self.sets.to_read) {
            return true;
        }
        if let Some((walk, began)) = self.sets.walk.take_if(|(walk, _)| walk.is_finished()) {
            self.sets.not_before = Some(now + began.elapsed() * REST);
            let found = walk.join().ok().flatten();
            return found.is_none() || found != self.sets.members;
        }
        if self.sets.walk.is_none() && self.sets.wanted && self.sets.not_before.is_none_or(|at| at <= now) {
            self.sets.wanted = false;
            let expected = Arc::clone(expected);
            let depths: Depths = Arc::new(move |name: &str| depth(&expected, name, Depth::Members));
            self.sets.walk = Some((port.sets_digest_later(depths), now));
        }
        false
    }

    /// Whether a set of another program that rules wait for has come.
    pub fn awaited_sets_came(&self, port: &dyn Port) -> bool {
        self.absent_sets.iter().any(|set| port.set_references(set.as_str()).is_some())
    }

    /// The same, as far as it is time to look.
    pub fn seek_sets(&mut self, port: &dyn Port, now: Instant) -> bool {
        if self.absent_sets.is_empty() {
            self.seek_sets = None;
            return false;
        }
        if !self.unsettled.is_empty() || self.seek_sets.is_some_and(|at| at > now) {
            return false; // while a table is left alone, what waits in it would be
        }
        self.seek_sets = Some(now + SEEK);
        self.awaited_sets_came(port)
    }

    /// When to look for them again.
    pub fn seek_due(&self) -> Option<Instant> {
        (!self.absent_sets.is_empty()).then(|| self.seek_sets.unwrap_or_else(Instant::now))
    }

    /// When to look again.
    pub fn sets_due(&self) -> Option<Instant> {
        if self.sets.to_read {
            return Some(Instant::now());
        }
        if self.sets.walk.is_some() {
            return Some(Instant::now() + LOOK);
        }
        self.sets.wanted.then(|| self.sets.not_before.unwrap_or_else(Instant::now))
    }

    /// Reads the sets into `observed`; their members only if they may have changed.
    pub fn look_at_sets(
        &mut self,
        port: &dyn Port,
        expected: &Expected,
        observed: &mut Observed,
    ) -> Result<(), ObserveError> {
        if !expected.ownership.any_sets() {
            self.sets.members = Some(0);
            return Ok(());
        }
        self.sets.outlines = digest(port, expected, Depth::Count);
        self.sets.members = digest(port, expected, Depth::Members);
        (self.sets.wanted, self.sets.to_read) = (false, false);
        let known = self.sets.listed.take().filter(|(of, _)| self.sets.members == Some(*of));
        let listed = match known {
            Some((_, mut listed)) => {
                for (name, set) in &mut listed {
                    set.references = port.set_references(name).unwrap_or(set.references);
                }
                listed
            }
            None => read(port, expected)?,
        };
        self.sets.listed = self.sets.members.map(|members| (members, listed.clone()));
        observed.sets = Some(listed);
        Ok(())
    }
}

fn read(port: &dyn Port, expected: &Expected) -> Result<BTreeMap<String, ObservedSet>, ObserveError> {
    let mut listed = sets::parse_list(&port.sets(&|name| expected.ownership.owns_set(name))?)?;
    for (name, set) in &expected.sets {
        if let (Some(found), Some(show)) = (listed.get_mut(name.as_str()), &set.show) {
            found.members.share_with(&show.members);
        }
    }
    Ok(listed)
}
