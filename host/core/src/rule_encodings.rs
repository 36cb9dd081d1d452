//! What is known of the byte forms of the rules that should be there: the text that each is shown as, and the form in
//! which each can be replayed.
//!
//! It is learned in a rehearsal, with the node's own tools, and proven there: a rule may be replayed only if its form,
//! sent to another private namespace, gave the same `iptables-save` text and the same form again. Whatever is not
//! proven is written by the stock tools. Nothing here is guessed from bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::encoded_rule::EncodedRule;
use crate::names::{Family, Table};

type Place = (Family, Table);

/// The forms of all rules of a desired state.
#[derive(Debug, Clone, Default)]
pub struct RuleEncodings {
    tables: BTreeMap<Place, TableForms>,
    /// Whether the backend takes rules in this form at all, and this was proven.
    pub replayable: bool,
}

#[derive(Debug, Clone, Default)]
struct TableForms {
    shown: HashMap<Arc<EncodedRule>, Arc<str>>,
    written: HashMap<Arc<str>, Replay>,
    /// How many forms are known beside those that were learned.
    others: usize,
    by_text: Option<String>,
}

/// So many other forms of the rules of one table are kept. More can only come from rules that never look the same.
pub const MOST_OTHERS: usize = 65_536;

#[derive(Debug, Clone)]
struct Replay {
    /// The one to replay.
    form: Arc<EncodedRule>,
    /// Another one as a resort.
    resort: Option<Arc<EncodedRule>>,
    doubt: Option<Box<str>>,
}

/// How much of a desired state can be replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Different rules of the desired state.
    pub rules: usize,
    /// Those of them that only the stock tools can write.
    pub unproven: usize,
    /// Why, for one of them.
    pub reason: Option<String>,
    /// Tables that are compared by their text alone, with the reason.
    pub by_text: Vec<String>,
}

impl RuleEncodings {
    /// Takes note of a rule: what iptables-restore was given, what iptables-save shows, and its form. A `lighter` form
    /// that means the same is the one to replay, if it can be proven.
    pub fn learn(
        &mut self,
        place: Place,
        written: &Arc<str>,
        shown: &str,
        form: EncodedRule,
        lighter: Option<EncodedRule>,
    ) {
        let table = self.tables.entry(place).or_default();
        // Most rules are shown as they are written: of these one text is kept.
        let mut text: Option<Arc<str>> = (**written == *shown).then(|| Arc::clone(written));
        let mut note = |form: EncodedRule| match table.shown.get_key_value(&form) {
            Some((known, _)) => Arc::clone(known),
            None => {
                let form = Arc::new(form);
                let text = text.get_or_insert_with(|| shown.into());
                table.shown.insert(Arc::clone(&form), Arc::clone(text));
                form
            }
        };
        let (lighter, form) = (lighter.map(&mut note), note(form));
        if !table.written.contains_key(written) {
            let (form, resort) = match lighter {
                Some(lighter) => (lighter, Some(form)),
                None => (form, None),
            };
            table.written.insert(Arc::clone(written), Replay { form, resort, doubt: None });
        }
    }

    /// What is in the kernel is another form of a rule that is shown as `shown`: not drift, and never replayed.
    pub fn add_alias(&mut self, place: Place, form: EncodedRule, shown: &str) {
        let table = self.tables.entry(place).or_default();
        table.others += 1;
        if table.others > MOST_OTHERS {
            table.by_text.get_or_insert_with(|| "its rules have another form each time".to_owned());
            return;
        }
        table.shown.insert(Arc::new(form), shown.into());
    }

    /// Keeps the other forms that `before` knew of rules that are still here.
    pub fn inherit(&mut self, before: &Self) {
        for (place, old) in before.tables.iter().filter(|(_, old)| old.others > 0) {
            let Some(table) = self.tables.get(place) else { continue };
            let texts: HashSet<&str> = table.shown.values().map(|text| &**text).collect();
            let kept =
                old.shown.iter().filter(|(form, text)| texts.contains(&***text) && !table.shown.contains_key(*form));
            let kept: Vec<(EncodedRule, Arc<str>)> =
                kept.map(|(form, text)| (EncodedRule::clone(form), Arc::clone(text))).collect();
            for (form, text) in kept {
                self.add_alias(*place, form, &text);
            }
        }
    }

    /// The rule must not be replayed in the form that it has first. False: it has no other.
    pub fn mark_unproven(&mut self, place: Place, written: &str, reason: &str) -> bool {
        let Some(table) = self.tables.get_mut(&place) else { return false };
        let Some(replay) = table.written.get_mut(written) else { return false };
        if let Some(resort) = replay.resort.take() {
            table.shown.remove(&std::mem::replace(&mut replay.form, resort));
            return true;
        }
        replay.doubt.get_or_insert_with(|| reason.into());
        false
    }

    /// The forms of this table say nothing: it is compared by its text.
    pub fn distrust(&mut self, place: Place, reason: String) {
        self.tables.entry(place).or_default().by_text.get_or_insert(reason);
    }

    /// Whether the table may be compared by forms.
    pub fn trusts(&self, place: Place) -> bool {
        self.tables.get(&place).is_none_or(|table| table.by_text.is_none())
    }

    /// What the form is shown as, if it is one of ours.
    pub fn text(&self, place: Place, form: &EncodedRule) -> Option<&str> {
        self.tables.get(&place)?.shown.get(form).map(|text| &**text)
    }

    /// The form to replay for a rule as it is written.
    ///
    /// # Errors
    /// Why it can't be replayed.
    pub fn replay(&self, place: Place, written: &str) -> Result<&Arc<EncodedRule>, String> {
        if !self.replayable {
            return Err("this backend takes no rules in bytes".to_owned());
        }
        match self.tables.get(&place).and_then(|table| table.written.get(written)) {
            None => Err("it was not rehearsed".to_owned()),
            Some(Replay { doubt: Some(reason), .. }) => Err(reason.to_string()),
            Some(Replay { form, doubt: None, .. }) => Ok(form),
        }
    }

    /// How much of it can be replayed.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for ((family, table), forms) in &self.tables {
            coverage.rules += forms.written.len();
            coverage.by_text.extend(forms.by_text.iter().map(|reason| format!("{family} {table}: {reason}")));
            for (text, replay) in &forms.written {
                let Some(reason) = &replay.doubt else { continue };
                coverage.unproven += 1;
                let reason = format!("{family} {table} `{text}`: {reason}");
                if coverage.reason.as_ref().is_none_or(|other| reason < *other) {
                    coverage.reason = Some(reason);
                }
            }
        }
        coverage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(bytes: &[u8]) -> EncodedRule {
        EncodedRule { bytes: bytes.into(), sets: Box::default() }
    }

    #[test]
    fn only_what_is_proven_is_replayed() {
        let place = (Family::Ipv4, Table::Nat);
        let mut forms = RuleEncodings::default();
        forms.learn(place, &"-p 6 -j a".into(), "-p tcp -j a", form(b"1"), None);
        assert_eq!(forms.text(place, &form(b"1")), Some("-p tcp -j a"));
        assert_eq!(forms.text((Family::Ipv6, Table::Nat), &form(b"1")), None);
        assert!(forms.replay(place, "-p 6 -j a").is_err(), "nothing is proven yet");
        forms.replayable = true;
        assert_eq!(&*forms.replay(place, "-p 6 -j a").unwrap().bytes, b"1");
        assert!(forms.replay(place, "-j b").is_err());
        forms.mark_unproven(place, "-p 6 -j a", "its text differs");
        assert_eq!(forms.replay(place, "-p 6 -j a").unwrap_err(), "its text differs");
        let coverage = forms.coverage();
        assert_eq!((coverage.rules, coverage.unproven), (1, 1));
        assert!(coverage.reason.unwrap().ends_with("its text differs"));
    }

    #[test]
    fn a_lighter_form_goes_first_and_gives_way() {
        let place = (Family::Ipv4, Table::Nat);
        let mut forms = RuleEncodings { replayable: true, ..RuleEncodings::default() };
        forms.learn(place, &"-j a".into(), "-j a", form(b"heavy"), Some(form(b"light")));
        assert_eq!(&*forms.replay(place, "-j a").unwrap().bytes, b"light");
        assert_eq!(forms.text(place, &form(b"heavy")), Some("-j a"));
        assert!(forms.mark_unproven(place, "-j a", "refused"));
        assert_eq!(&*forms.replay(place, "-j a").unwrap().bytes, b"heavy");
        assert_eq!(forms.text(place, &form(b"light")), None);
        assert!(!forms.mark_unproven(place, "-j a", "refused"));
        assert!(forms.replay(place, "-j a").is_err());
    }

    #[test]
    fn another_form_with_the_same_text_is_known_and_not_replayed() {
        let place = (Family::Ipv4, Table::Nat);
        let mut forms = RuleEncodings { replayable: true, ..RuleEncodings::default() };
        forms.learn(place, &"-j a".into(), "-j a", form(b"1"), None);
        forms.add_alias(place, form(b"2"), "-j a");
        assert_eq!(forms.text(place, &form(b"2")), Some("-j a"));
        assert_eq!(&*forms.replay(place, "-j a").unwrap().bytes, b"1");
        let mut next = RuleEncodings::default();
        next.learn(place, &"-j a".into(), "-j a", form(b"3"), None);
        next.inherit(&forms);
        assert_eq!(next.text(place, &form(b"2")), Some("-j a"), "a new desired state does not make it strange");
        let mut other = RuleEncodings::default();
        other.learn(place, &"-j b".into(), "-j b", form(b"4"), None);
        other.inherit(&forms);
        assert_eq!(other.text(place, &form(b"2")), None);
    }
}
