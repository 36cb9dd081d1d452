//! A kernel of plain data: it reads the same scripts as iptables-restore and ipset, and answers with the same text.
//! The property tests and the daemon's fake kernel stand on it. It knows positions and names, not what a rule means.

use std::collections::BTreeMap;

use crate::base_chain::{BaseChain, ChainState, TableState};
use crate::contribution::Verdict;
use crate::encoded_rule::{EncodedRule, RawChain, RawRule, RawTable};
use crate::members::Members;
use crate::names::{Family, Hook, Table};
use crate::observed::{Observed, ObservedTable};
use crate::sets::ObservedSet;
use crate::transaction::{Change, Step, Transaction};

/// Chains by name; built-in ones always exist.
type Chains = BTreeMap<String, Vec<String>>;

/// All tables and sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulated {
    tables: BTreeMap<(Family, Table), Chains>,
    sets: BTreeMap<String, ObservedSet>,
    states: States,
}

/// What chains and tables are besides their rules, where that is not what their names say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct States {
    /// Chains that hang elsewhere, or nowhere.
    bases: BTreeMap<(Family, Table, String), Option<BaseChain>>,
    policies: BTreeMap<(Family, Table, Hook), Verdict>,
    tables: BTreeMap<(Family, Table), TableState>,
}

impl States {
    fn base(&self, (family, table): (Family, Table), name: &str) -> Option<BaseChain> {
        match self.bases.get(&(family, table, name.to_owned())) {
            Some(base) => base.clone(),
            None => Hook::from_name(name).map(base_of),
        }
    }

    /// Whether the stock tools can work on the chain.
    fn is_usual(&self, (family, table): (Family, Table), name: &str) -> bool {
        self.base((family, table), name) == Hook::from_name(name).map(base_of)
    }

    fn forget(&mut self, (family, table): (Family, Table), name: &str) {
        self.bases.remove(&(family, table, name.to_owned()));
        if let Some(hook) = Hook::from_name(name) {
            self.policies.remove(&(family, table, hook));
        }
    }
}

/// How a built-in chain hangs in this kernel, as iptables makes it.
pub fn base_of(hook: Hook) -> BaseChain {
    BaseChain { definition: hook.as_str().as_bytes().into(), shown: format!("hook {hook}").into() }
}

impl Simulated {
    /// The chains of a table, for setting up and for looking.
    pub fn table(&mut self, family: Family, table: Table) -> &mut Chains {
        self.tables
            .entry((family, table))
            .or_insert_with(|| table.hooks().iter().map(|hook| (hook.as_str().to_owned(), Vec::new())).collect())
    }

    /// Has a chain hang elsewhere, or nowhere, as another program can make it.
    pub fn hang(&mut self, (family, table): (Family, Table), chain: &str, base: Option<BaseChain>) {
        self.states.bases.insert((family, table, chain.to_owned()), base);
    }

    /// What a table is besides its chains.
    pub fn table_state(&mut self, place: (Family, Table)) -> &mut TableState {
        self.states.tables.entry(place).or_default()
    }

    /// The policy of a built-in chain.
    pub fn policy(&mut self, (family, table): (Family, Table), hook: Hook) -> &mut Verdict {
        self.states.policies.entry((family, table, hook)).or_insert(Verdict::Accept)
    }

    /// Whether each chain hangs where its name says, and the table is switched on.
    pub fn is_usual(&self, place: (Family, Table)) -> bool {
        let chains = self.tables.get(&place).into_iter().flatten();
        let awake = self.states.tables.get(&place).is_none_or(|state| !state.dormant);
        awake && chains.into_iter().all(|(name, _)| self.states.is_usual(place, name))
    }

    /// The sets, for setting up and for looking.
    pub fn sets(&mut self) -> &mut BTreeMap<String, ObservedSet> {
        &mut self.sets
    }

    /// As `iptables-restore --noflush` with a script of one table: all of it or nothing.
    ///
    /// # Errors
    /// The number of the line that can't be done, and why.
    pub fn restore(&mut self, family: Family, script: &str) -> Result<(), (usize, String)> {
        let mut place = None;
        let mut chains = Chains::new();
        let mut states = self.states.clone();
        for (number, line) in script.lines().enumerate() {
            if let Some(name) = line.strip_prefix('*') {
                let table = Table::from_name(name).ok_or((number + 1, format!("no table {name}")))?;
                chains = self.table(family, table).clone();
                place = Some(table);
            } else if line == "COMMIT" {
                let table = place.take().ok_or((number + 1, "COMMIT outside of a table".to_owned()))?;
                self.tables.insert((family, table), std::mem::take(&mut chains));
                self.states = states.clone();
            } else {
                if let Some(table) = place {
                    usual_only(&mut states, (family, table), line).map_err(|reason| (number + 1, reason))?;
                }
                command(&mut chains, line).map_err(|reason| (number + 1, reason))?;
            }
        }
        Ok(())
    }

    /// As `iptables-save -t TABLE`.
    pub fn save(&self, family: Family, table: Table) -> String {
        let Some(chains) = self.tables.get(&(family, table)) else { return String::new() };
        let mut text = format!("*{table}\n");
        let place = (family, table);
        // As iptables-nft-save: a built-in chain is shown whatever it is, one that hangs elsewhere without its rules.
        let is_shown = |name: &str| self.states.is_usual(place, name) || self.states.base(place, name).is_none();
        for name in chains.keys().filter(|name| Hook::from_name(name).is_some() || is_shown(name)) {
            let policy = |hook| self.states.policies.get(&(family, table, hook)).copied().unwrap_or(Verdict::Accept);
            let policy = Hook::from_name(name).map_or("-", |hook| policy(hook).as_str());
            text.push_str(&format!(":{name} {policy} [0:0]\n"));
        }
        for (name, rules) in chains.iter().filter(|(name, _)| is_shown(name)) {
            for rule in rules {
                let blank = if rule.is_empty() { "" } else { " " };
                text.push_str(&format!("-A {name}{blank}{rule}\n"));
            }
        }
        text + "COMMIT\n"
    }

    /// As `ipset restore`: line by line, what was done before an error stays done.
    ///
    /// # Errors
    /// The number of the line that can't be done, and why.
    pub fn restore_sets(&mut self, script: &str) -> Result<(), (usize, String)> {
        for (number, line) in script.lines().enumerate() {
            self.set_command(line).map_err(|reason| (number + 1, reason))?;
        }
        Ok(())
    }

    fn set_command(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let missing = |name: &str| format!("no set {name}");
        match words.as_slice() {
            ["create", name, kind, options @ ..] => {
                if self.sets.contains_key(*name) {
                    return Err(format!("set {name} exists"));
                }
                let set = ObservedSet { kind: (*kind).into(), options: options.join(" "), ..ObservedSet::default() };
                self.sets.insert((*name).into(), set);
            }
            ["add", name, member] | ["add", name, member, "-exist"] => {
                let set = self.sets.get_mut(*name).ok_or_else(|| missing(name))?;
                set.members =
                    Members::sorted(set.members.iter().filter(|one| one != member).chain([*member]).collect());
            }
            ["swap", a, b] => {
                let (first, second) = (self.sets.get(*a).cloned(), self.sets.get(*b).cloned());
                let (first, second) = (first.ok_or_else(|| missing(a))?, second.ok_or_else(|| missing(b))?);
                self.sets.insert((*a).into(), second);
                self.sets.insert((*b).into(), first);
            }
            ["rename", name, other] => {
                let set = self.sets.remove(*name).ok_or_else(|| missing(name))?;
                self.sets.insert((*other).into(), set);
            }
            ["destroy", name] => {
                self.sets.remove(*name).ok_or_else(|| missing(name))?;
            }
            _ => return Err(format!("not a command: {line}")),
        }
        Ok(())
    }

    /// Rules in a byte form, which here is their text, with handles that hold until the next change.
    pub fn raw(&self, family: Family, table: Table) -> RawTable {
        let chain = |(name, rules): (&String, &Vec<String>)| RawChain {
            name: name.as_str().into(),
            rules: rules.iter().zip(1..).map(|(text, handle)| RawRule { form: form_of(text), handle }).collect(),
            state: self.state((family, table), name),
        };
        let state = self.states.tables.get(&(family, table)).cloned().unwrap_or_default();
        let chains = self.tables.get(&(family, table)).into_iter().flatten().map(chain).collect();
        RawTable { chains, state, stamp: None }
    }

    fn state(&self, place: (Family, Table), name: &str) -> ChainState {
        let (base, (family, table)) = (self.states.base(place, name), place);
        let hook = Hook::from_name(name).filter(|_| base.is_some());
        let policy =
            hook.map(|hook| self.states.policies.get(&(family, table, hook)).copied().unwrap_or(Verdict::Accept));
        let word = format!("-j {name}");
        let rules = self.tables.get(&place).into_iter().flat_map(Chains::values).flatten();
        let jumps = u32::try_from(rules.filter(|rule| rule.ends_with(&word)).count()).unwrap_or(u32::MAX);
        ChainState { base, policy, jumps, rules: None }
    }

    /// Carries out a transaction: all of it or nothing. The caller has compared the generation.
    ///
    /// # Errors
    /// The number of the step (from 0) that can't be done, and why.
    pub fn transact(&mut self, transaction: &Transaction) -> Result<(), (usize, String)> {
        let mut work: BTreeMap<(Family, Table), Handled> = BTreeMap::new();
        for (place, chains) in &self.tables {
            let numbered = |rules: &Vec<String>| rules.iter().zip(1..).map(|(text, at)| (at, text.clone())).collect();
            work.insert(*place, chains.iter().map(|(name, rules)| (name.clone(), numbered(rules))).collect());
        }
        let mut states = self.states.clone();
        for (number, step) in transaction.steps.iter().enumerate() {
            take_step(&mut work, &mut states, step).map_err(|reason| (number, reason))?;
        }
        for (place, chains) in work {
            let texts = |rules: Vec<(u64, String)>| rules.into_iter().map(|(_, text)| text).collect();
            self.tables.insert(place, chains.into_iter().map(|(name, rules)| (name, texts(rules))).collect());
        }
        self.states = states;
        Ok(())
    }

    /// Reads the given tables and all sets.
    pub fn observe(&self, places: impl IntoIterator<Item = (Family, Table)>) -> Observed {
        let read = |(family, table)| {
            let mut parsed = ObservedTable::parse(table, self.save(family, table)).unwrap_or_default();
            let RawTable { chains, state, .. } = self.raw(family, table);
            chains.into_iter().for_each(|chain| parsed.set_state(&chain.name, chain.state));
            parsed.set_table_state(state);
            ((family, table), parsed)
        };
        let (tables, sets) = (places.into_iter().map(read).collect(), Some(self.sets.clone()));
        Observed { tables, sets, ..Observed::default() }
    }
}

/// The byte form of a rule in this kernel.
pub fn form_of(text: &str) -> EncodedRule {
    EncodedRule { bytes: text.as_bytes().into(), sets: Box::default() }
}

type Handled = BTreeMap<String, Vec<(u64, String)>>;

fn take_step(work: &mut BTreeMap<(Family, Table), Handled>, states: &mut States, step: &Step) -> Result<(), String> {
    let place = (step.family, step.table);
    if step.change == Change::AddTable {
        work.entry(place).or_default();
        return Ok(());
    }
    let chains = work.get_mut(&place).ok_or_else(|| format!("no table {}", step.table))?;
    let referred = |chains: &Handled, name: &str| {
        let jump = format!("-j {name}");
        chains.values().flatten().any(|(_, text)| text.ends_with(&jump))
    };
    match &step.change {
        Change::AddTable => {}
        Change::AddHook { hook, definition, policy } => {
            if chains.insert(hook.as_str().to_owned(), Vec::new()).is_some() {
                return Err(format!("chain {hook} exists"));
            }
            let base = BaseChain { definition: definition.clone(), ..base_of(*hook) };
            states.bases.insert((step.family, step.table, hook.as_str().to_owned()), Some(base));
            states.policies.extend(policy.map(|policy| ((step.family, step.table, *hook), policy)));
        }
        Change::AddChain(name) => {
            if chains.insert(name.to_string(), Vec::new()).is_some() {
                return Err(format!("chain {name} exists"));
            }
            states.bases.insert((step.family, step.table, name.to_string()), None);
        }
        Change::SetPolicy { hook, policy } => drop(states.policies.insert((step.family, step.table, *hook), *policy)),
        Change::Wake { .. } => states.tables.entry(place).or_default().dormant = false,
        Change::Flush(name) => chains.get_mut(&**name).ok_or("no such chain")?.clear(),
        Change::DeleteChain(name) => {
            if referred(chains, name) || chains.get(&**name).is_none_or(|rules| !rules.is_empty()) {
                return Err(format!("chain {name} is not there, not empty or still referred to"));
            }
            chains.remove(&**name);
            states.forget(place, name);
        }
        Change::DeleteRule { chain, handle } => {
            let rules = chains.get_mut(&**chain).ok_or("no such chain")?;
            let at = rules.iter().position(|(has, _)| has == handle).ok_or("no such handle")?;
            rules.remove(at);
        }
        Change::AddRule { chain, before, form, .. } => {
            let rules = chains.get_mut(&**chain).ok_or("no such chain")?;
            let at = match before {
                None => rules.len(),
                Some(handle) => rules.iter().position(|(has, _)| has == handle).ok_or("no such handle")?,
            };
            let text = String::from_utf8_lossy(&form.bytes).into_owned();
            let target = text.rsplit_once("-j ").map_or("", |(_, target)| target).to_owned();
            rules.insert(at, (0, text));
            if chains.contains_key(&target) && states.base(place, &target).is_some() {
                return Err(format!("a jump to the base chain {target}"));
            }
        }
    }
    Ok(())
}

/// The stock tools refuse to work on a chain that is not what its name says. Policies are set here.
fn usual_only(states: &mut States, place: (Family, Table), line: &str) -> Result<(), String> {
    let mut words = line.trim_start_matches(':').split(' ');
    let first = words.next().unwrap_or_default();
    let name = if line.starts_with(':') { first } else { words.next().unwrap_or_default() };
    if !states.is_usual(place, name) {
        return Err(format!("CHAIN_ADD failed: chain {name}"));
    }
    let policy = words.next().filter(|_| line.starts_with(':')).and_then(Verdict::from_name);
    states.policies.extend(Hook::from_name(name).zip(policy).map(|(hook, policy)| ((place.0, place.1, hook), policy)));
    Ok(())
}

fn command(chains: &mut Chains, line: &str) -> Result<(), String> {
    if let Some(head) = line.strip_prefix(':') {
        let name = head.split(' ').next().unwrap_or_default();
        let rules = chains.entry(name.to_owned()).or_default();
        if Hook::from_name(name).is_none() {
            rules.clear();
        }
        return Ok(());
    }
    let mut words = line.splitn(3, ' ');
    let (word, name, rest) = (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next().unwrap_or(""));
    if word == "-X" {
        let referred = chains.values().flatten().any(|rule| rule.ends_with(&format!("-j {name}")));
        let empty = chains.get(name).is_some_and(Vec::is_empty);
        if referred || !empty {
            return Err(format!("chain {name} is not there, not empty or still referred to"));
        }
        chains.remove(name);
        return Ok(());
    }
    let rules = chains.get_mut(name).ok_or_else(|| format!("no chain {name}"))?;
    match word {
        "-A" => rules.push(rest.to_owned()),
        "-I" => {
            let (number, rule) = rest.split_once(' ').unwrap_or((rest, ""));
            let number: usize = number.parse().map_err(|_| format!("not a number: {number}"))?;
            if number == 0 || number > rules.len() + 1 {
                return Err(format!("chain {name} has no place {number}"));
            }
            rules.insert(number - 1, rule.to_owned());
        }
        "-D" => {
            let by_number = rest.parse::<usize>().ok().filter(|number| (1..=rules.len()).contains(number));
            let found = by_number.map(|number| number - 1).or_else(|| rules.iter().position(|rule| rule == rest));
            rules.remove(found.ok_or_else(|| format!("no such rule in {name}: {rest}"))?);
        }
        "-F" => rules.clear(),
        _ => return Err(format!("not a command: {line}")),
    }
    Ok(())
}
