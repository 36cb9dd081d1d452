//! A kernel of plain data: it reads the same scripts as iptables-restore and ipset, and answers with the same text.
//! The property tests and the daemon's fake kernel stand on it. It knows positions and names, not what a rule means.

use std::collections::BTreeMap;

use crate::form::{Form, RawChain, RawRule, RawTable};
use crate::names::{Family, Table};
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
}

impl Simulated {
    /// The chains of a table, for setting up and for looking.
    pub fn table(&mut self, family: Family, table: Table) -> &mut Chains {
        self.tables
            .entry((family, table))
            .or_insert_with(|| table.hooks().iter().map(|hook| (hook.as_str().to_owned(), Vec::new())).collect())
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
        for (number, line) in script.lines().enumerate() {
            if let Some(name) = line.strip_prefix('*') {
                let table = Table::from_name(name).ok_or((number + 1, format!("no table {name}")))?;
                chains = self.table(family, table).clone();
                place = Some(table);
            } else if line == "COMMIT" {
                let table = place.take().ok_or((number + 1, "COMMIT outside of a table".to_owned()))?;
                self.tables.insert((family, table), std::mem::take(&mut chains));
            } else {
                command(&mut chains, line).map_err(|reason| (number + 1, reason))?;
            }
        }
        Ok(())
    }

    /// As `iptables-save -t TABLE`.
    pub fn save(&self, family: Family, table: Table) -> String {
        let Some(chains) = self.tables.get(&(family, table)) else { return String::new() };
        let mut text = format!("*{table}\n");
        for name in chains.keys() {
            text.push_str(&format!(":{name} - [0:0]\n"));
        }
        for (name, rules) in chains {
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
            ["add", name, member] => {
                let set = self.sets.get_mut(*name).ok_or_else(|| missing(name))?;
                set.members.push((*member).into());
                set.members.sort_unstable();
            }
            ["swap", a, b] => {
                let (first, second) = (self.sets.get(*a).cloned(), self.sets.get(*b).cloned());
                let (first, second) = (first.ok_or_else(|| missing(a))?, second.ok_or_else(|| missing(b))?);
                self.sets.insert((*a).into(), second);
                self.sets.insert((*b).into(), first);
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
        };
        RawTable { chains: self.tables.get(&(family, table)).into_iter().flatten().map(chain).collect(), stamp: None }
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
        for (number, step) in transaction.steps.iter().enumerate() {
            take_step(&mut work, step).map_err(|reason| (number, reason))?;
        }
        for (place, chains) in work {
            let texts = |rules: Vec<(u64, String)>| rules.into_iter().map(|(_, text)| text).collect();
            self.tables.insert(place, chains.into_iter().map(|(name, rules)| (name, texts(rules))).collect());
        }
        Ok(())
    }

    /// Reads the given tables and all sets.
    pub fn observe(&self, places: impl IntoIterator<Item = (Family, Table)>) -> Observed {
        let read = |(family, table)| {
            let parsed = ObservedTable::parse(table, self.save(family, table)).unwrap_or_default();
            ((family, table), parsed)
        };
        let (tables, sets) = (places.into_iter().map(read).collect(), Some(self.sets.clone()));
        Observed { tables, sets, ..Observed::default() }
    }
}

/// The byte form of a rule in this kernel.
pub fn form_of(text: &str) -> Form {
    Form { bytes: text.as_bytes().into(), sets: Box::default() }
}

type Handled = BTreeMap<String, Vec<(u64, String)>>;

fn take_step(work: &mut BTreeMap<(Family, Table), Handled>, step: &Step) -> Result<(), String> {
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
        Change::AddHook { hook, .. } => drop(chains.insert(hook.as_str().to_owned(), Vec::new())),
        Change::AddChain(name) => drop(chains.insert(name.to_string(), Vec::new())),
        Change::Flush(name) => chains.get_mut(&**name).ok_or("no such chain")?.clear(),
        Change::DeleteChain(name) => {
            if referred(chains, name) || chains.get(&**name).is_none_or(|rules| !rules.is_empty()) {
                return Err(format!("chain {name} is not there, not empty or still referred to"));
            }
            chains.remove(&**name);
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
            rules.insert(at, (0, String::from_utf8_lossy(&form.bytes).into_owned()));
        }
    }
    Ok(())
}

fn command(chains: &mut Chains, line: &str) -> Result<(), String> {
    if let Some(head) = line.strip_prefix(':') {
        let name = head.split(' ').next().unwrap_or_default();
        chains.insert(name.to_owned(), Vec::new());
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
