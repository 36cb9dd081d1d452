//! Loads a desired state into an empty namespace and finds out which of its rules are refused, each with the tool's own
//! reason. A rule counts as taken only if it is there afterwards: the tools skip one that begins with `-6` where it is for
//! IPv4, and do nothing at all, successfully, for one that holds `-h`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruleward_core::check::CheckedSet;
use ruleward_core::expected::ExpectedTable;
use ruleward_core::members::Members;
use ruleward_core::merge::Desired;
use ruleward_core::named;
use ruleward_core::names::{Family, SetName, Table};
use ruleward_core::observed::{Observed, ObservedTable};
use ruleward_core::quote;
use ruleward_core::script::{self, Origin, Rehearsal, RehearsedRule};
use ruleward_core::sets::{ListReader, ObservedSet};

use super::estimators::Estimators;
use super::observe;
use super::port::Port;
use super::rehearse::{Refused, RehearseError};
use super::tools::RestoreError;

/// So many refused rules tell enough.
const MOST_REFUSED: usize = 25;
/// To find the next refused rule all others are loaded again: so many rules in all.
const MOST_LOADED: usize = 100_000;

const NOT_THERE: &str = "iptables takes it and makes no rule of it: it holds an option that is no part of a rule (-h, -V), or -4 \
                         or -6 of the other family; write -4 or -6 as its first word, or say families beside it";
const NO_REASON: &str = "the kernel does not take it; its log (dmesg) may say why";

/// A desired state as it was loaded.
pub(super) struct Loaded {
    /// What the namespace then shows.
    pub shown: Observed,
    several: BTreeMap<(Family, Table), Several>,
}

impl Loaded {
    /// Puts the rules that were loaded in the place of those that iptables made several of.
    pub fn expand(&self, desired: &mut Desired) {
        for (place, several) in &self.several {
            if let Some(table) = desired.tables.get_mut(place) {
                table.expand(several);
            }
        }
    }
}

/// The rules that iptables makes of one, by its chain and text.
type Several = BTreeMap<(String, Arc<str>), Vec<Arc<str>>>;

/// Loads it.
///
/// # Errors
/// [`RehearseError`]
pub(super) fn load(scratch: &dyn Port, desired: &Desired, estimators: &Estimators) -> Result<Loaded, RehearseError> {
    let mut observed = Observed::default();
    if let Some(stubs) = script::foreign_sets(desired) {
        scratch
            .restore_sets(&stubs)
            .map_err(|error| RehearseError::Refused(vec![Refused::somewhere(error.to_string())]))?;
    }
    if !desired.sets.is_empty() {
        observed.sets = Some(load_sets(scratch, desired)?);
    }
    estimators.make(scratch);
    let families = desired.families.clone();
    let loaded = std::thread::scope(|scope| {
        let start = |family: Family| scope.spawn(move || load_family(scratch, desired, family));
        let threads: Vec<_> = families.into_iter().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Vec<Result<_, RehearseError>>>()
    });
    let (mut refused, mut several) = (Vec::new(), BTreeMap::new());
    for loaded in loaded {
        match loaded {
            Ok(tables) => {
                for (place, (shown, own)) in tables {
                    observed.tables.insert(place, shown);
                    several.insert(place, own);
                }
            }
            Err(RehearseError::Refused(more)) => more.into_iter().for_each(|one| push_refused(&mut refused, one)),
            Err(error) => return Err(error),
        }
    }
    hint_at_family(&mut refused, desired);
    refused.iter_mut().for_each(hint_at_uses);
    if refused.is_empty() { Ok(Loaded { shown: observed, several }) } else { Err(RehearseError::Refused(refused)) }
}

fn load_sets(scratch: &dyn Port, desired: &Desired) -> Result<BTreeMap<String, ObservedSet>, RehearseError> {
    for (name, set) in script::sets_in_order(desired) {
        // Where it is known how members are shown, rules need none of them.
        let empty = CheckedSet { members: Members::default(), ..set.clone() };
        let set = if desired.known_sets.contains_key(name) { &empty } else { set };
        let mut sent = 0;
        for script in script::rehearsal_set(name, set) {
            scratch.restore_sets(&script).map_err(|error| refused_set(desired, name, sent, error))?;
            sent += script.lines().count();
        }
    }
    let mut list = ListReader::default();
    scratch.sets(&|_| true, &mut list)?;
    let mut shown = list.finish()?;
    shown.extend(desired.known_sets.iter().map(|(name, set)| (name.to_string(), set.clone())));
    Ok(shown)
}

/// A rule that one family takes and the other does not belongs to the first alone.
fn hint_at_family(refused: &mut [Refused], desired: &Desired) {
    for one in refused {
        let Some(origin) = &one.origin else { continue };
        let families = Family::ALL.map(|family| (family, origin.place.contains(&format!("({family})"))));
        let takes = |(family, refuses): &(Family, bool)| {
            let tables = desired.tables.iter().filter(|((of, _), _)| of == family);
            !refuses && tables.into_iter().any(|(_, table)| table.rules().any(|rule| rule.text == origin.text))
        };
        if families.iter().any(|(_, refuses)| *refuses)
            && let Some((family, _)) = families.iter().find(|one| takes(one))
        {
            let hint =
                format!(" ({family} takes it: give it to {family} alone, by families or -4 or -6 as its first word)");
            one.reason.push_str(&hint);
        }
    }
}

/// A set that is not there may be another program's.
fn hint_at_uses(refused: &mut Refused) {
    let Some(origin) = refused.origin.as_ref().filter(|_| refused.reason.contains("doesn't exist")) else { return };
    let named = named::set_names(&origin.text).find(|name| refused.reason.contains(name.as_str()));
    if let Some(name) = named {
        refused.reason.push_str(&format!(" (if it is another program's, add \"{name}\" to grants.uses.sets)"));
    }
}

/// What is refused in both families for the same reason is told once.
fn push_refused(all: &mut Vec<Refused>, one: Refused) {
    let [ipv4, ipv6] = [Family::Ipv4, Family::Ipv6].map(|family| format!("({family})"));
    if let Some(origin) = &one.origin
        && let Some(same) = all.iter_mut().find(|other| {
            other.reason == one.reason
                && other.origin.as_ref().is_some_and(|other| {
                    (&other.policy, &other.text) == (&origin.policy, &origin.text)
                        && other.place.replace(&ipv4, &ipv6) == origin.place
                })
        })
        && let Some(origin) = &mut same.origin
    {
        origin.place = origin.place.replace(&ipv4, &format!("({} and {})", Family::Ipv4, Family::Ipv6));
        return;
    }
    all.push(one);
}

type Tables = BTreeMap<(Family, Table), (ObservedTable, Several)>;

fn load_family(scratch: &dyn Port, desired: &Desired, family: Family) -> Result<Tables, RehearseError> {
    let mut tables = Tables::new();
    let mut refused = Vec::new();
    for ((_, table), wanted) in desired.tables.iter().filter(|((of, _), _)| *of == family) {
        let rehearsal = Rehearsal::new(family, *table, wanted);
        let (rules, several) = (rehearsal.rules(), Several::new());
        let mut loading = Loading { scratch, family, table: *table, rehearsal: &rehearsal, rules, several };
        match loading.load()? {
            Ok(mut shown) => {
                observe::add_states(scratch, &ExpectedTable::default(), (family, *table), &mut shown)?;
                tables.insert((family, *table), (shown, loading.several));
            }
            Err(more) => refused.extend(more),
        }
    }
    if refused.is_empty() { Ok(tables) } else { Err(RehearseError::Refused(refused)) }
}

struct Loading<'a> {
    scratch: &'a dyn Port,
    family: Family,
    table: Table,
    rehearsal: &'a Rehearsal<'a>,
    /// Those that were not refused so far.
    rules: Vec<RehearsedRule<'a>>,
    several: Several,
}

impl Loading<'_> {
    /// What the table then shows, or all that is refused.
    fn load(&mut self) -> Result<Result<ObservedTable, Vec<Refused>>, RehearseError> {
        let mut refused = Vec::new();
        let mut loaded = 0;
        loop {
            let (found, reason) = match self.try_with(self.rules.len())? {
                Tried::Taken(shown) if refused.is_empty() => return Ok(Ok(shown)),
                Tried::Taken(_) => return Ok(Err(refused)),
                Tried::NotThere if self.expand()? => continue,
                Tried::NotThere => (self.first_not_taken()?, NOT_THERE.to_owned()),
                Tried::Refused { rule, message, vague } => {
                    let found = match rule.filter(|rule| *rule < self.rules.len()) {
                        Some(rule) => Some(rule),
                        None => self.first_not_taken()?,
                    };
                    let rule = found.and_then(|found| self.rules.get(found));
                    let own = rule.filter(|_| vague).map(|rule| self.own_reason(rule));
                    (found, own.unwrap_or(message))
                }
            };
            loaded += self.rules.len();
            let Some(found) = found else {
                refused.push(Refused::somewhere(format!("{} {}: {reason}", self.family, self.table)));
                return Ok(Err(refused));
            };
            let rule = self.rules.remove(found);
            refused.push(Refused { origin: Some(self.rehearsal.origin(&rule)), reason });
            if refused.len() >= MOST_REFUSED || loaded > MOST_LOADED {
                return Ok(Err(refused));
            }
        }
    }

    /// Loads the first `count` rules.
    fn try_with(&self, count: usize) -> Result<Tried, RehearseError> {
        let (family, table, rules) = (self.family, self.table, &self.rules[..count]);
        match self.scratch.restore(family, &self.rehearsal.script(rules)) {
            Ok(()) => {
                let shown = ObservedTable::parse(table, self.scratch.save(family, table)?)?;
                let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
                rules.iter().for_each(|rule| *wanted.entry(rule.chain).or_default() += 1);
                let there = wanted.into_iter().all(|(chain, count)| shown.rules(chain).len() == count);
                Ok(if there { Tried::Taken(shown) } else { Tried::NotThere })
            }
            Err(RestoreError::Refused { message, .. }) if message.contains("Message too long") => {
                Err(RehearseError::TooMuch { family, table, reason: message })
            }
            Err(RestoreError::Refused { line, message, vague, .. }) => {
                let rule = line.and_then(|line| self.rehearsal.rule_of_line(line));
                Ok(Tried::Refused { rule, message, vague })
            }
            Err(RestoreError::Tool(error)) => Err(error.into()),
            Err(error @ (RestoreError::LockBusy { .. } | RestoreError::Unwritable { .. })) => {
                Err(RehearseError::Refused(vec![Refused::somewhere(error.to_string())]))
            }
        }
    }

    /// Puts the rules that iptables makes of one in its place; whether there were any. Asked for each that may be such.
    fn expand(&mut self) -> Result<bool, RehearseError> {
        let mut any = false;
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in std::mem::take(&mut self.rules) {
            let key = (rule.chain.to_owned(), Arc::clone(&rule.text));
            if !self.several.contains_key(&key) && lists_addresses(&rule.text) {
                let alone = self.rehearsal.script([&rule]);
                if self.scratch.restore(self.family, &alone).is_ok() {
                    let shown = ObservedTable::parse(self.table, self.scratch.save(self.family, self.table)?)?;
                    let shown: Vec<Arc<str>> = shown.rules(rule.chain).into_iter().map(Arc::from).collect();
                    if shown.len() > 1 {
                        self.several.insert(key.clone(), shown);
                    }
                }
            }
            match self.several.get(&key) {
                Some(several) => {
                    any = true;
                    rules.extend(several.iter().map(|text| rule.with_text(text)));
                }
                None => rules.push(rule),
            }
        }
        self.rules = rules;
        Ok(any)
    }

    /// Where the tool names the end of the table alone: the last rule of the shortest beginning that is not taken.
    fn first_not_taken(&self) -> Result<Option<usize>, RehearseError> {
        let (mut taken, mut not_taken) = (0, self.rules.len());
        while taken + 1 < not_taken {
            let middle = taken.midpoint(not_taken);
            match self.try_with(middle)? {
                Tried::Taken(_) => taken = middle,
                Tried::NotThere | Tried::Refused { .. } => not_taken = middle,
            }
        }
        Ok(not_taken.checked_sub(1))
    }

    /// Why this one is refused, asked alone: what the tool says of many may be about others.
    fn own_reason(&self, rule: &RehearsedRule<'_>) -> String {
        // Its chain, and those that it may jump to.
        let told = self
            .try_with(0)
            .ok()
            .and_then(|_| self.scratch.why_refused(self.family, self.table, rule.chain, &rule.text));
        told.unwrap_or_else(|| NO_REASON.to_owned())
    }
}

/// Whether a value of `-s` or `-d` may be a list: iptables makes a rule for each address then.
fn lists_addresses(rule: &str) -> bool {
    let words: Vec<_> = quote::words(rule).collect();
    let option = |word: &str| ["-s", "-d", "--s", "--d"].iter().any(|start| word.starts_with(start));
    words.windows(2).any(|pair| option(&pair[0]) && pair[1].contains(','))
}

/// What came of loading some rules.
enum Tried {
    /// All of them are there.
    Taken(ObservedTable),
    /// The tool reported success, and not all of them are there.
    NotThere,
    Refused {
        rule: Option<usize>,
        message: String,
        vague: bool,
    },
}

/// `sent`: lines of the set's scripts that were accepted.
fn refused_set(desired: &Desired, name: &SetName, sent: usize, error: RestoreError) -> RehearseError {
    match error {
        RestoreError::Refused { line, message, .. } => {
            // Before the first member is the line that creates the set.
            let member = line.map_or(0, |line| sent + line).saturating_sub(1);
            let origin = desired.ownership.set_owner(name.as_str()).map(|policy| {
                let place = if member == 0 { format!("set {name}") } else { format!("set {name}, member {member}") };
                let text = member.checked_sub(1).and_then(|at| desired.sets.get(name)?.members.iter().nth(at));
                Origin { policy: policy.clone(), place, text: text.unwrap_or_default().into() }
            });
            RehearseError::Refused(vec![Refused { origin, reason: message }])
        }
        RestoreError::Tool(error) => error.into(),
        error @ (RestoreError::LockBusy { .. } | RestoreError::Unwritable { .. }) => {
            RehearseError::Refused(vec![Refused::somewhere(error.to_string())])
        }
    }
}
