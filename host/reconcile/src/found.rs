//! The drift that a pass finds: at its first look, and whenever it looks again before all is written.

use std::sync::Arc;

use ruleward_core::actor::Actor;
use ruleward_core::drift::Drift;
use ruleward_core::expected::Expected;

/// What is recorded of a pass when its repair has ended.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What had to be shown before the pass; none if nothing was in force.
    pub measure: Option<Arc<Expected>>,
    /// What the first look found.
    pub drifts: Vec<Drift>,
    /// What later looks found beside it: other programs wrote meanwhile.
    pub late: Vec<Drift>,
    /// Who wrote meanwhile, where the news of it does not come by itself (legacy).
    pub late_writers: Vec<Actor>,
}

impl Found {
    /// A look before anything was written found this, which is `drifts` or more.
    pub fn before_writing(&mut self, found: Vec<Drift>, writers: impl FnOnce() -> Vec<Actor>) {
        let news: Vec<Drift> = found.into_iter().filter_map(|drift| self.news(drift)).collect();
        if !news.is_empty() {
            self.late_writers.extend(writers());
            self.late.extend(news);
        }
    }

    /// A look after a write found this: the repair was undone again. What never was in force was not undone.
    /// `anew`: all was written just before; else a write has failed since, and what it was to repair is found once more.
    pub fn after_writing(&mut self, found: Vec<Drift>, anew: bool) {
        if self.measure.is_some() {
            let news = found.into_iter().filter_map(|drift| if anew { Some(drift) } else { self.news(drift) });
            let news: Vec<Drift> = news.collect();
            self.late.extend(news);
        }
    }

    /// What of a drift is not known yet.
    fn news(&self, mut drift: Drift) -> Option<Drift> {
        let same = |known: &&Drift| {
            (known.family, known.table, known.kind) == (drift.family, drift.table, drift.kind)
                && known.chain == drift.chain
        };
        let known: Vec<&Drift> = self.drifts.iter().chain(&self.late).filter(same).collect();
        if known.is_empty() {
            return Some(drift);
        }
        drift.added.retain(|line| !known.iter().any(|known| known.added.contains(line)));
        drift.removed.retain(|line| !known.iter().any(|known| known.removed.contains(line)));
        (!drift.added.is_empty() || !drift.removed.is_empty()).then_some(drift)
    }
}

#[cfg(test)]
mod tests {
    use ruleward_core::drift::Kind;
    use ruleward_core::names::{Family, Table};
    use ruleward_core::ownership::Ownership;

    use super::*;

    fn deleted(chain: &str, rules: &[&str]) -> Drift {
        Drift {
            family: Some(Family::Ipv4),
            table: Some(Table::Nat),
            chain: chain.to_owned(),
            kind: Kind::RuleDeleted,
            added: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            removed: Vec::new(),
        }
    }

    #[test]
    fn what_a_later_look_finds_beside_the_first_is_told_once() {
        let mut found = Found { drifts: vec![deleted("a", &["-j X"])], ..Found::default() };
        found.before_writing(vec![deleted("a", &["-j X"])], || panic!("there are no news"));
        let again = vec![deleted("a", &["-j X", "-j Y"]), deleted("b", &["-j Z"])];
        found.before_writing(again.clone(), || vec![Actor::unknown()]);
        found.before_writing(again, || panic!("that is known"));
        assert_eq!(found.late, [deleted("a", &["-j Y"]), deleted("b", &["-j Z"])]);
        assert_eq!(found.late_writers, [Actor::unknown()]);
        found.after_writing(vec![deleted("a", &["-j X"])], true);
        assert_eq!(found.late.len(), 2, "nothing was in force");
        found.measure = Some(Arc::new(Expected::nothing(Ownership::new(Vec::new()), Vec::new(), Default::default())));
        found.after_writing(vec![deleted("a", &["-j X"])], true);
        assert_eq!(found.late.len(), 3, "a repair that is undone is undone once more");
        found.after_writing(vec![deleted("a", &["-j X"])], false);
        assert_eq!(found.late.len(), 3, "its repair has failed, and it is still undone");
    }
}
