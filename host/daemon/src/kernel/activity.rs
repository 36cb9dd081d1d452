//! What others did, as far as a watch tells: where, how often, and who.

use std::collections::BTreeMap;
use std::time::Instant;

use ruleward_core::author::Author;
use ruleward_core::names::{Family, Table};

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
}

/// Changes of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touch {
    /// Who made the last of them.
    pub author: Author,
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

    /// Adds who was heard of later, where nobody is known yet; no more.
    pub fn name_unknown(&mut self, later: &Self) {
        for ((family, table, chain), news) in &later.chains {
            let touch = self.touch(*family, *table, chain);
            if !touch.author.is_known() {
                let author = news.author.clone();
                self.chains.insert((*family, *table, chain.clone()), Touch { author, ..touch });
            }
        }
        for (place, news) in &later.tables {
            let touch = self.tables.entry(*place).or_default();
            if !touch.author.is_known() {
                touch.author = news.author.clone();
            }
        }
    }

    /// Who changed a chain; unknown if nobody says.
    pub fn touch(&self, family: Family, table: Table, chain: &str) -> Touch {
        let exact = self.chains.get(&(family, table, chain.into()));
        let wider = || self.tables.get(&(family, table)).or(self.anywhere.as_ref());
        exact.or_else(wider).cloned().unwrap_or_default()
    }

    /// Who changed a table: whoever changed all that is known to have changed of it; unknown if there were several.
    pub fn touch_of_table(&self, family: Family, table: Table) -> Touch {
        let of_table = self.chains.iter().filter(|((f, t, _), _)| (*f, *t) == (family, table)).map(|(_, touch)| touch);
        let mut all: Option<Touch> = None;
        for touch in of_table.chain(self.tables.get(&(family, table))) {
            match &mut all {
                None => all = Some(touch.clone()),
                Some(all) => {
                    all.events += touch.events;
                    all.since = all.since.min(touch.since);
                    if all.author != touch.author {
                        all.author = Author::unknown();
                    }
                }
            }
        }
        all.or_else(|| self.anywhere.clone()).unwrap_or_default()
    }
}

impl Touch {
    fn extend(&mut self, later: Self) {
        self.events += later.events;
        self.since = self.since.or(later.since);
        if later.author.is_known() || !self.author.is_known() {
            self.author = later.author;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(name: &str, events: u64) -> Touch {
        Touch { author: Author { name: name.to_owned(), ..Author::unknown() }, events, since: None }
    }

    #[test]
    fn news_names_who_is_unknown_and_nobody_else() {
        let place = |chain: &str| (Family::Ipv4, Table::Nat, Box::from(chain));
        let mut heard = Activity::default();
        heard.chains.insert(place("known"), by("iptables", 2));
        heard.chains.insert(place("unknown"), by(&Author::unknown().name, 3));
        let mut later = Activity::default();
        for chain in ["known", "unknown", "unheard"] {
            later.chains.insert(place(chain), by("nft", 1));
        }
        heard.name_unknown(&later);
        let touch = |chain| heard.touch(Family::Ipv4, Table::Nat, chain);
        assert_eq!(touch("known"), by("iptables", 2));
        assert_eq!(touch("unknown"), by("nft", 3));
        assert_eq!(touch("unheard"), by("nft", 0), "it was found by looking");
        assert_eq!(touch("other"), Touch::default());
    }
}
