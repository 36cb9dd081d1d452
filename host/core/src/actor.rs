//! Who changed what is ours: processes, as far as the kernel tells.
//!
//! What is not known stays unknown; nothing here is guessed. Names and command lines come from those processes and are
//! hostile input: whoever shows them escapes them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word for an actor of whom nothing is known.
pub const UNKNOWN: &str = "unknown";
/// How many distinct actors [`Actors`] names. Further ones are only counted.
pub const KEPT_ACTORS: usize = 16;
/// How far up the processes that started an actor are kept: a script may call `sh`, and that `sudo`.
pub const KEPT_PARENTS: usize = 4;

/// How many characters of a parent's command line are shown to people.
const SHOWN_WORDS: usize = 80;

/// A process that changed something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Actor {
    /// The kernel's name of it, at most 15 bytes; [`UNKNOWN`] if nothing is known.
    pub name: String,
    /// Its id in the host's pid namespace.
    pub pid: Option<u32>,
    /// The file that it runs, as its own mount namespace names it; none where the kernel does not tell.
    #[serde(default)]
    pub executable: Option<String>,
    /// Its words, joined by spaces, at most 1,000 characters.
    pub command_line: Option<String>,
    /// Its control group, which names its container or unit: `/system.slice/docker-4f....scope`.
    pub cgroup: Option<String>,
    /// The process that started it.
    pub parent: Option<Box<Parent>>,
}

/// The process that started another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Parent {
    /// The kernel's name of it.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Its words, joined by spaces, at most 1,000 characters.
    #[serde(default)]
    pub command_line: Option<String>,
    /// The process that started this one; the fourth parent names none.
    #[serde(default)]
    pub parent: Option<Box<Parent>>,
}

impl Default for Actor {
    fn default() -> Self {
        let name = UNKNOWN.to_owned();
        Self { name, pid: None, executable: None, command_line: None, cgroup: None, parent: None }
    }
}

impl Actor {
    /// Of whom nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.pid.is_some() || self.is_named()
    }

    /// Whether its name is known. Of a process that ended at once there may be an id alone.
    pub fn is_named(&self) -> bool {
        self.name != UNKNOWN
    }

    /// Whether both are the same program, started in the same way. Ids differ from run to run, and so may arguments; all
    /// of whom no more than an id is known count as one, so that they leave room for others. Nothing is taken for the same
    /// of which less is known, but for the file: the kernel tells it while the process runs, and not after.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_file = match (&self.executable, &other.executable) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.name == other.name && same_file && self.cgroup == other.cgroup && self.came_alike(other)
    }

    /// Whether the same processes started both.
    fn came_alike(&self, other: &Self) -> bool {
        let words = |parent: &Parent| (parent.name.clone(), parent.command_line.clone());
        self.parents().map(words).eq(other.parents().map(words))
    }

    /// The processes that started it, the nearest first.
    pub fn parents(&self) -> impl Iterator<Item = &Parent> {
        std::iter::successors(self.parent.as_deref(), |parent| parent.parent.as_deref())
    }
}

impl fmt::Display for Actor {
    /// `iptables (pid 4711: iptables -t nat -D POSTROUTING 1; in /user.slice; started by sh, pid 4242: sh clean.sh)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let Some(pid) = self.pid else { return Ok(()) };
        write!(f, " (pid {pid}")?;
        if let Some(words) = &self.command_line {
            write!(f, ": {words}")?;
        }
        if let Some(cgroup) = &self.cgroup {
            write!(f, "; in {cgroup}")?;
        }
        for parent in self.parents() {
            write!(f, "; started by {}, pid {}", parent.name, parent.pid)?;
            if let Some(words) = &parent.command_line {
                let (cut, end) = words.char_indices().nth(SHOWN_WORDS).map_or((words.len(), ""), |(at, _)| (at, "..."));
                write!(f, ": {}{end}", &words[..cut])?;
            }
        }
        f.write_str(")")
    }
}

/// Every distinct actor, each with how often and when. `At` is a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actors<At> {
    noted: Vec<Noted<At>>,
    more: u64,
}

/// One of [`Actors`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted<At> {
    /// Who, as it was the last time.
    pub actor: Actor,
    /// How often.
    pub times: u64,
    /// The first time.
    pub first: At,
    /// The last time.
    pub last: At,
}

impl<At> Default for Actors<At> {
    fn default() -> Self {
        Self { noted: Vec::new(), more: 0 }
    }
}

impl<At: Copy + Ord> Actors<At> {
    /// Takes note of an actor that did it once more.
    pub fn note(&mut self, actor: Actor, at: At) {
        self.add(Noted { actor, times: 1, first: at, last: at });
    }

    /// Adds what `others` did.
    pub fn extend(&mut self, others: Self) {
        self.more = self.more.saturating_add(others.more);
        others.noted.into_iter().for_each(|noted| self.add(noted));
    }

    fn add(&mut self, news: Noted<At>) {
        let room = self.noted.len() < KEPT_ACTORS;
        match self.noted.iter_mut().find(|noted| noted.actor.is_same(&news.actor)) {
            Some(noted) => {
                noted.times = noted.times.saturating_add(news.times);
                noted.first = noted.first.min(news.first);
                if news.last >= noted.last {
                    let before = std::mem::replace(&mut noted.actor, news.actor);
                    noted.actor.executable = noted.actor.executable.take().or(before.executable);
                    noted.actor.pid = noted.actor.pid.or(before.pid);
                    noted.last = news.last;
                }
            }
            None if room => self.noted.push(news),
            None => self.more = self.more.saturating_add(news.times),
        }
    }

    /// The actors, in the order in which they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Noted<At>> {
        self.noted.iter()
    }

    /// How often actors did it that are not named here.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// Whether this one is among those who are named.
    pub fn has(&self, actor: &Actor) -> bool {
        self.noted.iter().any(|noted| noted.actor.is_same(actor))
    }

    /// Whether anything is known of any of them.
    pub fn any_known(&self) -> bool {
        self.noted.iter().any(|noted| noted.actor.is_known())
    }

    /// The one who did it last; unknown if there is none.
    pub fn last(&self) -> Actor {
        self.noted.iter().max_by_key(|noted| noted.last).map(|noted| noted.actor.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started_by(script: &str, pid: u32) -> Actor {
        let parent =
            Parent { name: "sh".into(), pid: pid - 1, command_line: Some(format!("sh {script}")), parent: None };
        Actor { name: "iptables".into(), pid: Some(pid), parent: Some(Box::new(parent)), ..Actor::unknown() }
    }

    #[test]
    fn says_what_is_known_and_no_more() {
        assert_eq!(Actor::unknown().to_string(), "unknown");
        assert!(!Actor::unknown().is_known());
        let gone = Actor { pid: Some(7), ..Actor::unknown() };
        assert!(gone.is_known() && !gone.is_named());
        let mut actor = Actor { name: "iptables".into(), pid: Some(7), ..Actor::default() };
        assert_eq!(actor.to_string(), "iptables (pid 7)");
        actor.command_line = Some("iptables -F".into());
        actor.parent = Some(Box::new(Parent { name: "bash".into(), pid: 5, command_line: None, parent: None }));
        assert_eq!(actor.to_string(), "iptables (pid 7: iptables -F; started by bash, pid 5)");
        let text = started_by("clean.sh", 7).to_string();
        assert_eq!(text, "iptables (pid 7; started by sh, pid 6: sh clean.sh)");
    }

    #[test]
    fn two_scripts_are_two_actors_and_one_script_is_one_whatever_its_ids() {
        let mut actors = Actors::default();
        for (actor, at) in [(started_by("a.sh", 100), 1), (started_by("b.sh", 200), 2), (started_by("a.sh", 300), 3)] {
            actors.note(actor, at);
        }
        let noted: Vec<_> = actors.iter().map(|one| (one.actor.pid, one.times, one.first, one.last)).collect();
        assert_eq!(noted, [(Some(300), 2, 1, 3), (Some(200), 1, 2, 2)]);
        assert_eq!(actors.last(), started_by("a.sh", 300));
    }

    #[test]
    fn who_differs_in_anything_but_its_id_and_arguments_is_another() {
        let one = started_by("a.sh", 100);
        let arguments = Actor { command_line: Some("iptables -F".into()), pid: Some(5), ..one.clone() };
        assert!(one.is_same(&arguments));
        let mut sudo = one.clone();
        if let Some(parent) = &mut sudo.parent {
            let above = Parent { name: "b.sh".into(), pid: 9, command_line: None, parent: None };
            parent.parent = Some(Box::new(above));
        }
        let others = [
            Actor { name: "nft".into(), ..one.clone() },
            Actor { cgroup: Some("/docker/4f".into()), ..one.clone() },
            Actor { parent: None, ..one.clone() },
            sudo,
            Actor::unknown(),
        ];
        for other in &others {
            assert!(!one.is_same(other) && !other.is_same(&one), "{other}");
        }
        let file = |path: &str| Actor { executable: Some(path.into()), ..one.clone() };
        assert!(!file("/usr/sbin/iptables").is_same(&file("/tmp/iptables")));
        assert!(one.is_same(&file("/tmp/iptables")), "the file is not known after the end");
        let gone = |pid| Actor { pid: Some(pid), ..Actor::unknown() };
        assert!(gone(7).is_same(&gone(8)) && gone(7).is_same(&Actor::unknown()), "an id names nobody");
    }

    #[test]
    fn beside_the_sixteen_that_are_named_the_others_are_counted() {
        let mut actors = Actors::default();
        for round in 0..3_u32 {
            for number in 0..20 {
                actors.note(started_by(&format!("{number}.sh"), 2 + number), round);
            }
        }
        assert_eq!((actors.iter().len(), actors.more()), (KEPT_ACTORS, 12));
        assert!(actors.iter().all(|noted| noted.times == 3));
        let mut twice = actors.clone();
        twice.extend(actors);
        assert_eq!((twice.iter().len(), twice.more()), (KEPT_ACTORS, 24));
        assert!(twice.iter().all(|noted| noted.times == 6));
    }
}
