//! Judges what one policy asks for against what it was granted, and renders it. Everything that can be wrong with a
//! contribution by itself is found here, all of it at once; what passes can be merged with any other policy's, because
//! grants never overlap. What only the kernel can judge is left to the rehearsal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::contribution::{AddressSet, Attachment, Chain, ChainPolicy, Contribution, SetMember, SetType, Verdict};
use crate::foreign_object::Foreign;
use crate::grants::{Grants, Pattern};
use crate::members::Members;
use crate::named;
use crate::names::{ChainName, Comment, Family, Hook, Placement, PolicyName, SetName, Table};
use crate::ownership::HOST_COMMENT;
use crate::quote;
use crate::render;
use crate::rule::{Match, Rule, Target};
use crate::set_use;
use crate::set_words;
use crate::sets;

/// How much a policy may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Chains.
    pub chains: usize,
    /// Rules in all chains and attachments together.
    pub rules: usize,
    /// Members of all sets together.
    pub members: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { chains: 4096, rules: 100_000, members: 1_000_000 }
    }
}

/// One thing that is wrong with a contribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `chain web-in in filter, rule 3`
    pub place: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// A rule in the words of iptables-restore, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRule {
    /// Without `-A CHAIN`.
    pub text: Arc<str>,
    /// `policy web, chain web-in, rule 3`; built on demand from its parts.
    pub number: u32,
    /// In force only while all of these exist.
    pub awaits: Option<Arc<[Foreign]>>,
}

impl CheckedRule {
    /// What other programs make and it waits for.
    pub fn awaits(&self) -> &[Foreign] {
        self.awaits.as_deref().unwrap_or_default()
    }
}

/// An attachment in the words of iptables-restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedAttachment {
    /// Lower comes first.
    pub order: i32,
    /// The rule.
    pub rule: CheckedRule,
}

/// Where attachments stand.
pub type Site = (Family, Table, Hook, Placement);

/// A contribution that passed. Only [`check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub(crate) policy: PolicyName,
    pub(crate) chains: BTreeMap<(Family, Table), BTreeMap<ChainName, Vec<CheckedRule>>>,
    pub(crate) attachments: BTreeMap<Site, Vec<CheckedAttachment>>,
    pub(crate) sets: BTreeMap<SetName, CheckedSet>,
    pub(crate) policies: BTreeMap<(Family, Table, Hook), Verdict>,
}

impl Checked {
    /// Whose contribution it was.
    pub fn policy(&self) -> &PolicyName {
        &self.policy
    }
}

/// A set in the words of ipset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSet {
    /// Type and options, as `ipset create` takes them after the name.
    pub create: String,
    /// As `ipset add` takes them after the name.
    pub members: Members,
    /// Members are left alone.
    pub dynamic: bool,
}

/// Checks and renders `contribution` for the families that the node can filter.
///
/// # Errors
/// All refusals, at most [`MOST_REFUSALS`].
pub fn check(
    policy: &PolicyName,
    grants: &Grants,
    families: impl Fn(Family) -> bool,
    limits: OutputLimits,
    contribution: &Contribution,
) -> Result<Checked, Vec<Refusal>> {
    let mut judge = Judge {
        grants,
        families: Family::ALL.into_iter().filter(|family| families(*family)).collect(),
        refusals: Vec::new(),
        set_families: contribution.sets.iter().map(|set| (&set.name, set.family)).collect(),
        known_chains: BTreeSet::new(),
        checked: Checked {
            policy: policy.clone(),
            chains: BTreeMap::new(),
            attachments: BTreeMap::new(),
            sets: BTreeMap::new(),
            policies: BTreeMap::new(),
        },
    };
    judge.limits(contribution, limits);
    if judge.refusals.is_empty() {
        for set in &contribution.sets {
            judge.set(set);
        }
        judge.note_chains(contribution);
        for chain in &contribution.chains {
            judge.chain(chain);
        }
        for (at, attachment) in contribution.attachments.iter().enumerate() {
            judge.attachment(at + 1, attachment);
        }
        for (at, policy) in contribution.policies.iter().enumerate() {
            judge.policy(at + 1, policy);
        }
        judge.cycles(contribution);
    }
    if judge.refusals.is_empty() { Ok(judge.checked) } else { Err(judge.refusals) }
}

/// More refusals than this are not collected: the first ones tell enough.
pub const MOST_REFUSALS: usize = 20;

struct Judge<'a> {
    grants: &'a Grants,
    families: Vec<Family>,
    refusals: Vec<Refusal>,
    set_families: BTreeMap<&'a SetName, Family>,
    known_chains: BTreeSet<(Family, Table, &'a ChainName)>,
    checked: Checked,
}

impl<'a> Judge<'a> {
    fn refuse(&mut self, place: impl fmt::Display, reason: impl Into<String>) {
        if self.refusals.len() < MOST_REFUSALS {
            self.refusals.push(Refusal { place: place.to_string(), reason: reason.into() });
        }
    }

    fn limits(&mut self, contribution: &Contribution, limits: OutputLimits) {
        let rules = contribution.chains.iter().map(|chain| chain.rules.len()).sum::<usize>();
        let members = contribution.sets.iter().map(|set| set.members.len()).sum::<usize>();
        for (what, key, count, most) in [
            ("chains", "chains", contribution.chains.len(), limits.chains),
            ("rules", "rules", rules + contribution.attachments.len(), limits.rules),
            ("set members", "members", members, limits.members),
        ] {
            if count > most {
                let reason = format!("{count} {what}, but its limit is {most}; raise limits.{key} if that is meant");
                self.refuse("the contribution", reason);
            }
        }
    }

    fn table(&mut self, place: &str, table: Table) {
        if !self.grants.tables.contains(&table) {
            self.refuse(place, format!("the table {table} is not granted; add it to grants.tables if that is meant"));
        }
    }

    fn set(&mut self, set: &AddressSet) {
        let place = format!("set {}", set.name);
        if !self.grants.owns_set(set.name.as_str()) {
            self.refuse(&place, no_pattern("sets", &self.grants.sets));
        }
        if set.dynamic && !set.members.is_empty() {
            self.refuse(&place, "is dynamic and lists members; a dynamic set is filled by rules only");
        }
        if let SetType::Extension(kind) = &set.kind
            && !kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | ','))
        {
            self.refuse(&place, format!("type {kind:?} is not a type of ipset, such as hash:net,iface"));
        }
        if let Err(reason) = set_words::options(&set.options) {
            self.refuse(&place, reason);
        }
        let list = matches!(&set.kind, SetType::Extension(kind) if kind == set_use::LIST);
        for (at, member) in set.members.iter().enumerate() {
            let named = || if list { self.listed_refusal(&member) } else { None };
            if let Some(reason) = member_refusal(set, &member).or_else(named) {
                self.refuse(format!("{place}, member {}", at + 1), reason);
            }
        }
        let checked = CheckedSet {
            create: sets::create_words(set),
            members: set.members.iter().map(|member| sets::member_words(&member)).collect(),
            dynamic: set.dynamic,
        };
        if self.checked.sets.insert(set.name.clone(), checked).is_some() {
            self.refuse(&place, "is listed twice");
        }
    }

    /// Whether a set of sets may hold this one.
    fn listed_refusal(&self, member: &SetMember) -> Option<String> {
        let SetMember::Extension(text) = member else { return None };
        let name = text.split(' ').next().unwrap_or_default();
        (!self.grants.owns_set(name) && !self.grants.uses_set(name)).then(|| {
            format!(
                "names the set {name}, which it was not granted; add \"{name}\" to grants.uses.sets if that is meant"
            )
        })
    }

    fn note_chains(&mut self, contribution: &'a Contribution) {
        for chain in &contribution.chains {
            for family in chain.families.iter() {
                if !self.known_chains.insert((family, chain.table, &chain.name)) {
                    self.refuse(chain_place(chain), format!("is listed twice for {family}"));
                }
            }
        }
    }

    fn chain(&mut self, chain: &Chain) {
        let place = chain_place(chain);
        self.table(&place, chain.table);
        if !self.grants.owns_chain(chain.name.as_str()) {
            self.refuse(&place, no_pattern("chains", &self.grants.chains));
        }
        if chain.families.iter().next().is_none() {
            self.refuse(&place, "is of no family; set ipv4, ipv6 or both");
        }
        for family in chain.families.iter().filter(|family| self.families.contains(family)).collect::<Vec<_>>() {
            let mut rules = Vec::with_capacity(chain.rules.len());
            for (at, rule) in chain.rules.iter().enumerate() {
                let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
                let rule_place = || format!("{place}, rule {number}");
                let awaited = self.awaited_chain(rule);
                if let Some(text) = self.rule(&rule_place, chain.table, family, rule, None, awaited.is_some()) {
                    let awaits = self.awaits(awaited, &text);
                    rules.push(CheckedRule { text: text.into(), number, awaits });
                }
                if self.refusals.len() >= MOST_REFUSALS {
                    return;
                }
            }
            self.checked.chains.entry((family, chain.table)).or_default().insert(chain.name.clone(), rules);
        }
    }

    fn attachment(&mut self, number: usize, attachment: &Attachment) {
        let Attachment { table, hook, placement, .. } = *attachment;
        let place = format!("attachment {number} to {table}/{hook}");
        self.table(&place, table);
        if !table.hooks().contains(&hook) {
            let hooks: Vec<&str> = table.hooks().iter().map(|hook| hook.as_str()).collect();
            self.refuse(&place, format!("the table {table} has no {hook}; it has {}", hooks.join(", ")));
            return;
        }
        if attachment.families.iter().next().is_none() {
            self.refuse(&place, "is of no family; set ipv4, ipv6 or both");
        }
        let awaited = self.awaited_chain(&attachment.rule);
        let numbered = u32::try_from(number).unwrap_or(u32::MAX);
        for family in attachment.families.iter().filter(|family| self.families.contains(family)).collect::<Vec<_>>() {
            let rule = &attachment.rule;
            let rule_place = || place.clone();
            let Some(plain) = self.rule(&rule_place, table, family, rule, None, awaited.is_some()) else { continue };
            let marked = rule.comment.as_ref().is_some_and(|comment| self.grants.owns_comment(comment.as_str()));
            let text = if marked {
                plain
            } else {
                let identity = self.identity(&(family, table, hook, placement), &plain);
                match identity.and_then(|identity| self.rule(&rule_place, table, family, rule, Some(&identity), true)) {
                    Some(text) => text,
                    None => continue,
                }
            };
            let awaits = self.awaits(awaited.clone(), &text);
            let rule = CheckedRule { text: text.into(), number: numbered, awaits };
            let checked = CheckedAttachment { order: attachment.order, rule };
            self.checked.attachments.entry((family, table, hook, placement)).or_default().push(checked);
        }
    }

    fn policy(&mut self, number: usize, policy: &ChainPolicy) {
        let ChainPolicy { table, hook, families, policy } = *policy;
        let place = format!("policy {number} ({table}/{hook})");
        if !table.hooks().contains(&hook) {
            let hooks: Vec<&str> = table.hooks().iter().map(|hook| hook.as_str()).collect();
            self.refuse(&place, format!("the table {table} has no {hook}; it has {}", hooks.join(", ")));
            return;
        }
        if !self.grants.sets_policy(table, hook) {
            let granted: Vec<String> = self.grants.policies.iter().map(ToString::to_string).collect();
            let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
            let reason = format!(
                "the policy of {table}/{hook} is not granted; grants.policies grants {granted}: add \"{table}/{hook}\" to \
                 it if that is meant"
            );
            self.refuse(&place, reason);
        }
        if families.iter().next().is_none() {
            self.refuse(&place, "is of no family; set ipv4, ipv6 or both");
        }
        for family in families.iter().filter(|family| self.families.contains(family)).collect::<Vec<_>>() {
            if self.checked.policies.insert((family, table, hook), policy).is_some() {
                self.refuse(&place, format!("is listed twice for {family}"));
            }
        }
    }

    /// What a rule waits for: the chain of another program that it jumps to, and the sets of others that it may use.
    fn awaits(&self, chain: Option<ChainName>, text: &str) -> Option<Arc<[Foreign]>> {
        let mut all: Vec<Foreign> = chain.map(Foreign::Chain).into_iter().collect();
        if !self.grants.uses.sets.is_empty() {
            let foreign = |name: &String| !self.grants.owns_set(name) && self.grants.uses_set(name);
            let names = named::set_names(text).filter(foreign).filter_map(|name| SetName::new(&name).ok());
            all.extend(names.map(Foreign::Set));
        }
        (!all.is_empty()).then(|| all.into())
    }

    /// The foreign chain that a rule jumps to, if it may: then the rule waits for that chain.
    fn awaited_chain(&self, rule: &Rule) -> Option<ChainName> {
        let name = match (&rule.target, rule.matches.as_slice()) {
            (Some(Target::Jump(chain) | Target::Goto(chain)), _) => chain.as_str(),
            (Some(Target::Extension(extension)), _) => extension.name.as_str(),
            (None, [Match::Verbatim(words)]) => quote::target(words.iter().map(String::as_str))?,
            _ => return None,
        };
        let foreign = !self.grants.owns_chain(name) && self.grants.uses_chain(name);
        foreign.then(|| ChainName::new(name).ok()).flatten()
    }

    /// `rw:POLICY:ID`, where ID tells the policy's rules at one place apart.
    fn identity(&self, site: &Site, text: &str) -> Option<Comment> {
        let same = self.checked.attachments.get(site).map_or(0, Vec::len);
        let digest = Sha256::digest(format!("{site:?}\0{text}\0{same}"));
        let id: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Comment::new(&format!("{HOST_COMMENT}{}:{id}", self.checked.policy)).ok()
    }

    fn rule(
        &mut self,
        place: &dyn Fn() -> String,
        table: Table,
        family: Family,
        rule: &Rule,
        identity: Option<&Comment>,
        foreign_target: bool,
    ) -> Option<String> {
        let before = self.refusals.len();
        if let Some(Target::Jump(chain) | Target::Goto(chain)) = &rule.target
            && !foreign_target
            && !self.known_chains.contains(&(family, table, chain))
        {
            let reason = format!(
                "jumps to {chain}, which this policy does not have in {table} for {family}; add the chain, or, if it is \
                 another program's, \"{chain}\" to grants.uses.chains"
            );
            self.refuse(place(), reason);
        }
        for found in &rule.matches {
            if let Match::Set { name, .. } = found {
                match self.set_families.get(name) {
                    None if !self.grants.owns_set(name.as_str()) && self.grants.uses_set(name.as_str()) => {}
                    None => {
                        let reason = format!(
                            "uses the set {name}, which this policy does not have; add the set, or, if it is another \
                             program's, \"{name}\" to grants.uses.sets"
                        );
                        self.refuse(place(), reason);
                    }
                    Some(set_family) if *set_family != family => {
                        let reason = format!("uses the set {name} of {set_family} in a rule for {family}");
                        self.refuse(place(), reason);
                    }
                    Some(_) => {}
                }
            }
        }
        match render::rule(rule, family, identity) {
            Ok(text) => (self.refusals.len() == before).then_some(text),
            Err(error) => {
                self.refuse(place(), error.to_string());
                None
            }
        }
    }
}

fn no_pattern(key: &str, granted: &[Pattern]) -> String {
    let list: Vec<String> = granted.iter().map(ToString::to_string).collect();
    let list = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
    format!("its name fits no pattern in grants.{key}, which grants {list}")
}

fn chain_place(chain: &Chain) -> String {
    format!("chain {} in {}", chain.name, chain.table)
}

fn member_refusal(set: &AddressSet, member: &SetMember) -> Option<String> {
    let other_family = |network: &ipnet::IpNet| network.addr().is_ipv4() != (set.family == Family::Ipv4);
    match (member, &set.kind) {
        (SetMember::Extension(text), _) => set_words::member(text).err(),
        (SetMember::Network(network) | SetMember::NetworkPort { network, .. }, _) if other_family(network) => {
            Some(format!("{network} is not {}, the family of the set", set.family))
        }
        (SetMember::Nomatch(network), SetType::HashNet) if other_family(network) => {
            Some(format!("{network} is not {}, the family of the set", set.family))
        }
        (SetMember::Nomatch(network), SetType::HashNet) if network.prefix_len() == 0 => {
            Some(format!("{network} excepts everything; leave the set out"))
        }
        (SetMember::Network(network), SetType::HashIp) if network.prefix_len() != network.max_prefix_len() => {
            Some(format!("{network} is a network, but hash:ip holds single addresses; use hash:net"))
        }
        (SetMember::Network(network), SetType::HashNet) if network.prefix_len() == 0 => {
            let halves = if network.addr().is_ipv4() { "0.0.0.0/1 and 128.0.0.0/1" } else { "::/1 and 8000::/1" };
            Some(format!("{network} can't be a member: ipset has no network of prefix length 0; write {halves}"))
        }
        (SetMember::Network(_), SetType::HashIp | SetType::HashNet)
        | (SetMember::Nomatch(_), SetType::HashNet)
        | (SetMember::NetworkPort { .. }, SetType::HashIpPort | SetType::HashNetPort) => None,
        (_, kind) => Some(format!("is of another kind than the set's type {kind}")),
    }
}

mod cycles;

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
