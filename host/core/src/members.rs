//! The members of a set, one after the other in one buffer that all who hold it share. A million of them are as large as
//! their text, whoever knows them.

use std::fmt::Write as _;
use std::sync::Arc;

/// Of a longer list of members people are told the first ones and how many more there are.
pub const MOST_NAMED: usize = 1_000;

/// Members in an order that whoever made them decides. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    text: Arc<String>,
    count: usize,
}

/// Members one after the other, while more of them come.
#[derive(Debug, Default)]
pub struct Collected {
    text: String,
    count: usize,
}

impl Collected {
    /// One more. No member holds a zero byte: neither [`crate::check`] nor ipset has such ones.
    pub fn push(&mut self, member: &str) {
        self.text.push_str(member);
        self.text.push('\0');
        self.count += 1;
    }

    /// The last one, if there is any.
    pub fn last(&self) -> Option<&str> {
        let text = self.text.strip_suffix('\0')?;
        text.rsplit('\0').next()
    }

    /// The last one goes on with this.
    pub fn extend_last(&mut self, rest: &str) {
        if self.text.pop().is_some() {
            self.text.push_str(rest);
            self.text.push('\0');
        }
    }

    /// In this order.
    pub fn finish(mut self) -> Members {
        self.text.shrink_to_fit();
        Members { text: Arc::new(self.text), count: self.count }
    }
}

impl<T: AsRef<str>> FromIterator<T> for Members {
    /// In this order.
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        let mut collected = Collected::default();
        members.into_iter().for_each(|member| collected.push(member.as_ref()));
        collected.finish()
    }
}

impl Members {
    /// These, sorted.
    pub fn sorted<T: AsRef<str> + Ord>(mut members: Vec<T>) -> Self {
        members.sort_unstable();
        members.into_iter().collect()
    }

    /// The same in the order in which they compare, without copies of one.
    #[must_use]
    pub fn to_sorted(&self) -> Self {
        let is_sorted = self.iter().is_sorted_by(|one, other| one <= other);
        if is_sorted {
            return self.clone();
        }
        let mut members = Vec::with_capacity(self.count);
        members.extend(self.iter());
        Self::sorted(members)
    }

    /// Each member.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.text.split_terminator('\0')
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps one buffer where both are the same.
    pub fn share_with(&mut self, other: &Self) {
        if self == other {
            self.text = Arc::clone(&other.text);
        }
    }

    /// Those of `self` that `other` lacks, both sorted; of more than [`MOST_NAMED`] the first, and how many more.
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let mut others = other.iter().peekable();
        let lacks = self.iter().filter(|member| {
            while others.next_if(|other| other < member).is_some() {}
            others.peek() != Some(member)
        });
        abridged(lacks)
    }
}

/// The first [`MOST_NAMED`], and how many more.
fn abridged<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let (mut named, mut more) = (Vec::new(), 0_usize);
    for word in words {
        if named.len() < MOST_NAMED {
            named.push(word.to_owned());
        } else {
            more += 1;
        }
    }
    if more > 0 {
        let mut line = String::new();
        let _ = write!(line, "... and {more} more");
        named.push(line);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(words: &[&str]) -> Members {
        Members::sorted(words.to_vec())
    }

    #[test]
    fn what_is_lacking_is_found_by_one_walk() {
        let (some, others) = (members(&["c", "a", "b", "x"]), members(&["b", "d", "x"]));
        assert_eq!(some.iter().collect::<Vec<_>>(), ["a", "b", "c", "x"]);
        assert_eq!(some.beyond(&others), ["a", "c"]);
        assert_eq!(others.beyond(&some), ["d"]);
        assert!(some.beyond(&some).is_empty());
        assert_eq!((some.len(), Members::default().is_empty()), (4, true));
    }

    #[test]
    fn of_many_the_first_are_named() {
        let all: Vec<String> = (0..MOST_NAMED + 5).map(|number| format!("{number:05}")).collect();
        let lacking = all.iter().collect::<Members>().beyond(&Members::default());
        assert_eq!((lacking.len(), lacking[MOST_NAMED].as_str()), (MOST_NAMED + 1, "... and 5 more"));
    }

    #[test]
    fn equal_ones_share_a_buffer() {
        let (mut one, other) = (members(&["a"]), members(&["a"]));
        one.share_with(&other);
        assert!(Arc::ptr_eq(&one.text, &other.text));
        assert!(Arc::ptr_eq(&one.to_sorted().text, &one.text));
    }
}
