//! What others did, as far as a watch tells: where, how often, and who.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ruleward_core::actor::{Actor, Actors};
use ruleward_core::drift::Kind;
use ruleward_core::names::{Family, Table};
use ruleward_core::settle::Extent;

/// Everything since the last time.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// Chains that may concern us.
    pub chains: BTreeMap<(Family, Table, Box<str>), Touch>,
    /// Tables of which anything may have changed.
    pub tables: BTreeMap<(Family, Table), Touch>,
    /// Somewhere: nobody says where. Everything has to be compared.
    pub anywhere: Option<Touch>,
    /// The generation after the last change that was heard of.
    pub generation: Option<u32>,
    /// Changes were missed.
    pub lost: bool,
    /// The writes that this is about, each by one process to one table. [`Activity::extend`] leaves them out.
    pub writes: Vec<Write>,
    /// Others wrote something that does not concern us.
    pub elsewhere: bool,
    /// Tables that are none of iptables' came or went: policies may see them. [`Activity::extend`] leaves it out.
    pub other_tables: bool,
}

/// What a process has written at once to a table.
#[derive(Debug, Clone)]
pub struct Write {
    /// Where.
    pub place: (Family, Table),
    /// Which process; unknown if it is not told, or if there were several.
    pub actor: Actor,
    /// How much.
    pub extent: Extent,
}

impl Write {
    /// Of a process that changed this much. A flush is one also where it took one rule away: more may follow.
    pub fn new(place: (Family, Table), actor: Actor, extent: Extent) -> Self {
        let flushes = |word: &str| matches!(word, "-F" | "--flush" | "-X" | "--delete-chain" | "flush");
        let says_so = actor.command_line.as_ref().is_some_and(|words| words.split(' ').any(flushes));
        Self { place, extent: if says_so { Extent::Mass } else { extent }, actor }
    }
}

/// Changes of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touch {
    /// Who took rules or chains away.
    pub removers: Actors<Instant>,
    /// Who changed anything else, or did what nothing tells.
    pub changers: Actors<Instant>,
    /// How many.
    pub events: u64,
    /// When the first of them was heard.
    pub since: Option<Instant>,
}

impl Activity {
    /// Whether anything has to be compared.
    pub fn is_quiet(&self) -> bool {
        self.chains.is_empty() && self.tables.is_empty() && self.anywhere.is_none() && !self.lost
    }

    /// Adds what came later.
    pub fn extend(&mut self, later: Self) {
        for (place, touch) in later.chains {
            self.chains.entry(place).or_default().extend(touch);
        }
        for (place, touch) in later.tables {
            self.tables.entry(place).or_default().extend(touch);
        }
        if let Some(touch) = later.anywhere {
            self.anywhere.get_or_insert_default().extend(touch);
        }
        self.generation = later.generation.or(self.generation);
        self.lost |= later.lost;
    }

    /// Takes all but what concerns these tables. Where it is not known which tables changed, that stays until none is left
    /// alone: then everything is compared.
    pub fn take_all_but(&mut self, alone: &BTreeSet<(Family, Table)>) -> Self {
        if alone.is_empty() {
            return std::mem::take(self);
        }
        let chains = self.chains.extract_if(.., |(family, table, _), _| !alone.contains(&(*family, *table))).collect();
        let tables = self.tables.extract_if(.., |place, _| !alone.contains(place)).collect();
        Self { chains, tables, ..Self::default() }
    }

    /// Adds who was heard of later, where nothing is known yet of anyone; no more.
    pub fn name_unknown(&mut self, later: &Self) {
        for ((family, table, chain), news) in &later.chains {
            let touch = self.touch(*family, *table, chain);
            if !touch.any_known() {
                self.chains.insert((*family, *table, chain.clone()), touch.named_by(news));
            }
        }
        for (place, news) in &later.tables {
            let touch = self.tables.entry(*place).or_default();
            if !touch.any_known() {
                *touch = std::mem::take(touch).named_by(news);
            }
        }
    }

    /// Who changed a chain; unknown if nobody says.
    pub fn touch(&self, family: Family, table: Table, chain: &str) -> Touch {
        let exact = self.chains.get(&(family, table, chain.into()));
        let wider = || self.tables.get(&(family, table)).or(self.anywhere.as_ref());
        exact.or_else(wider).cloned().unwrap_or_default()
    }

    /// Who changed what a table is, such as its flags, and not what is in it.
    pub fn touch_itself(&self, family: Family, table: Table) -> Touch {
        self.tables.get(&(family, table)).or(self.anywhere.as_ref()).cloned().unwrap_or_default()
    }

    /// Who changed a table: all who are known to have changed anything of it.
    pub fn touch_of_table(&self, family: Family, table: Table) -> Touch {
        let of_table = self.chains.iter().filter(|((f, t, _), _)| (*f, *t) == (family, table)).map(|(_, touch)| touch);
        let mut all: Option<Touch> = None;
        for touch in of_table.chain(self.tables.get(&(family, table))) {
            all.get_or_insert_default().extend(touch.clone());
        }
        all.or_else(|| self.anywhere.clone()).unwrap_or_default()
    }
}

/// What a change consisted of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Rules or chains were taken away.
    pub removed: bool,
    /// Anything else was done, or nothing tells what.
    pub changed: bool,
}

impl Deeds {
    /// Nothing tells what was done.
    pub const UNTOLD: Self = Self { removed: false, changed: true };
}

impl Touch {
    /// One change by `actor`.
    pub fn by(actor: Actor, deeds: Deeds, events: u64, at: Instant) -> Self {
        let mut touch = Self { events, since: Some(at), ..Self::default() };
        if deeds.changed {
            touch.changers.note(actor.clone(), at);
        }
        if deeds.removed {
            touch.removers.note(actor, at);
        }
        touch
    }

    /// Changes that no other program made.
    pub fn of_our_own(events: u64, at: Instant) -> Self {
        Self { events, since: Some(at), ..Self::default() }
    }

    /// Who may have brought about such a drift, each once; who has only added rules has taken none away.
    pub fn actors_of(&self, kind: Kind) -> Vec<Actor> {
        let Self { removers, changers, .. } = self;
        let taken = matches!(kind, Kind::RuleDeleted | Kind::ChainFlushed | Kind::ChainDeleted | Kind::TableFlushed);
        let (likely, others) = if taken { (removers, changers) } else { (changers, removers) };
        let who = if likely.is_empty() { others } else { likely };
        who.iter().map(|noted| noted.actor.clone()).collect()
    }

    /// Whether anything is known of anyone.
    pub fn any_known(&self) -> bool {
        self.removers.any_known() || self.changers.any_known()
    }

    fn named_by(self, news: &Self) -> Self {
        Self { removers: news.removers.clone(), changers: news.changers.clone(), ..self }
    }

    fn extend(&mut self, later: Self) {
        self.events += later.events;
        self.since = match (self.since, later.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.removers.extend(later.removers);
        self.changers.extend(later.changers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOVED: Deeds = Deeds { removed: true, changed: false };

    fn named(name: &str) -> Actor {
        Actor { name: name.to_owned(), ..Actor::unknown() }
    }

    fn names(touch: &Touch, kind: Kind) -> Vec<String> {
        touch.actors_of(kind).into_iter().map(|actor| actor.name).collect()
    }

    #[test]
    fn tables_are_left_alone_and_what_may_concern_any_is_kept_for_last() {
        let (filter, nat) = ((Family::Ipv4, Table::Filter), (Family::Ipv4, Table::Nat));
        let mut heard = Activity { generation: Some(9), lost: true, ..Activity::default() };
        for (family, table) in [filter, nat] {
            heard.chains.insert((family, table, "web".into()), Touch::default());
        }
        heard.tables.insert(nat, Touch::default());
        let taken = heard.take_all_but(&[nat].into());
        assert_eq!(taken.chains.into_keys().collect::<Vec<_>>(), [(filter.0, filter.1, "web".into())]);
        assert_eq!((taken.tables.len(), taken.generation, taken.lost), (0, None, false));
        let rest = heard.take_all_but(&BTreeSet::new());
        assert_eq!((rest.chains.len(), rest.tables.len(), rest.generation, rest.lost), (1, 1, Some(9), true));
        assert!(heard.is_quiet());
    }

    #[test]
    fn news_names_who_is_unknown_and_no_other() {
        let place = |chain: &str| (Family::Ipv4, Table::Nat, Box::from(chain));
        let by = |name: &str, events| Touch::by(named(name), Deeds::UNTOLD, events, Instant::now());
        let mut heard = Activity::default();
        heard.chains.insert(place("known"), by("iptables", 2));
        heard.chains.insert(place("unknown"), by(&Actor::unknown().name, 3));
        let mut later = Activity::default();
        for chain in ["known", "unknown", "unheard"] {
            later.chains.insert(place(chain), by("nft", 1));
        }
        heard.name_unknown(&later);
        let touch = |chain| heard.touch(Family::Ipv4, Table::Nat, chain);
        let told = |chain| (names(&touch(chain), Kind::RuleAdded), touch(chain).events);
        assert_eq!(told("known"), (vec!["iptables".to_owned()], 2));
        assert_eq!(told("unknown"), (vec!["nft".to_owned()], 3));
        assert_eq!(told("unheard"), (vec!["nft".to_owned()], 0), "it was found by looking");
        assert_eq!(touch("other"), Touch::default());
    }

    #[test]
    fn who_only_added_rules_has_deleted_none() {
        let now = Instant::now();
        let mut touch = Touch::by(named("dockerd"), Deeds::UNTOLD, 10, now);
        touch.extend(Touch::by(named("script"), REMOVED, 1, now));
        assert_eq!(names(&touch, Kind::RuleDeleted), ["script"]);
        assert_eq!(names(&touch, Kind::RuleMoved), ["dockerd"]);
        assert_eq!(touch.events, 11);
        let only_added = Touch::by(named("dockerd"), Deeds::UNTOLD, 1, now);
        assert_eq!(names(&only_added, Kind::RuleDeleted), ["dockerd"], "the best that is known");
    }

    #[test]
    fn who_changed_a_rule_has_not_changed_the_table_itself() {
        let now = Instant::now();
        let mut heard = Activity::default();
        let chain = (Family::Ipv4, Table::Nat, Box::from("a"));
        heard.chains.insert(chain, Touch::by(named("iptables"), REMOVED, 1, now));
        assert_eq!(heard.touch_itself(Family::Ipv4, Table::Nat), Touch::default());
        heard.tables.insert((Family::Ipv4, Table::Nat), Touch::by(named("nft"), Deeds::UNTOLD, 1, now));
        assert_eq!(names(&heard.touch_itself(Family::Ipv4, Table::Nat), Kind::TableDormant), ["nft"]);
    }

    #[test]
    fn of_a_table_all_are_named_who_changed_a_part_of_it() {
        let mut heard = Activity::default();
        for (chain, name) in [("a", "one"), ("b", "two"), ("c", "one")] {
            let touch = Touch::by(named(name), REMOVED, 1, Instant::now());
            heard.chains.insert((Family::Ipv4, Table::Nat, Box::from(chain)), touch);
        }
        let touch = heard.touch_of_table(Family::Ipv4, Table::Nat);
        assert_eq!((names(&touch, Kind::TableFlushed), touch.events), (vec!["one".to_owned(), "two".to_owned()], 3));
    }
}
