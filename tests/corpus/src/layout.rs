//! Answers as bytes in a guest's memory, by the canonical ABI of contract 0.1.0: so that a guest of a few instructions can
//! answer anything, the impossible included.

/// Where answers are.
const BASE: u32 = 32_768;
/// Bytes from there on that are for answers.
const ROOM: usize = 32_768;

/// Body of an `evaluate` that gives the answer.
pub const ANSWER: &str = "i32.const 32768";

/// Sizes of a chain, an attachment, a rule and a match.
const CHAIN: usize = 20;
const ATTACHMENT: usize = 84;
const RULE: usize = 76;

/// A chain of table filter, for IPv4.
#[derive(Clone)]
pub struct Chain<'a> {
    pub table: u8,
    pub families: u8,
    pub name: &'a [u8],
    pub rules: Vec<Rule<'a>>,
}

/// A rule with a target that has a name, and perhaps a comment.
#[derive(Clone, Default)]
pub struct Rule<'a> {
    /// Number of the target's case, and its text: 4 is jump, 12 is log.
    pub target: Option<(u8, &'a [u8])>,
    pub comment: Option<&'a [u8]>,
}

impl<'a> Chain<'a> {
    /// Without rules.
    pub fn named(name: &'a [u8]) -> Self {
        Self { table: 3, families: 1, name, rules: Vec::new() }
    }

    /// With one rule.
    pub fn with(name: &'a [u8], rule: Rule<'a>) -> Self {
        Self { rules: vec![rule], ..Self::named(name) }
    }
}

impl<'a> Rule<'a> {
    /// `-j NAME`
    pub fn jump(name: &'a [u8]) -> Self {
        Self { target: Some((4, name)), comment: None }
    }
}

/// Memory that is being filled.
struct Image(Vec<u8>);

impl Image {
    fn take(&mut self, size: usize) -> usize {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = self.0.len();
        self.0.resize(at + size, 0);
        at
    }

    fn word(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, at: usize, text: &[u8]) {
        let place = self.take(text.len());
        self.0[place..place + text.len()].copy_from_slice(text);
        self.list(at, place, text.len());
    }

    fn list(&mut self, at: usize, place: usize, length: usize) {
        self.word(at, BASE + u32::try_from(place).unwrap());
        self.word(at + 4, u32::try_from(length).unwrap());
    }

    fn rule(&mut self, at: usize, rule: &Rule<'_>) {
        // No matches; a pointer has to be aligned all the same.
        self.list(at, 0, 0);
        if let Some((case, text)) = rule.target {
            self.0[at + 8] = 1;
            self.0[at + 12] = case;
            self.text(at + 16, text);
        }
        if let Some(text) = rule.comment {
            self.0[at + 64] = 1;
            self.text(at + 68, text);
        }
    }

    fn data(self) -> String {
        assert!(self.0.len() <= ROOM, "{} bytes", self.0.len());
        let bytes: String = self.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const {BASE}) \"{bytes}\")")
    }
}

/// A data segment with an answer of these chains.
pub fn chains(chains: &[Chain<'_>]) -> String {
    image_of(chains).data()
}

/// What the memory holds, from [`BASE`] on, for an answer of one empty chain.
pub fn chain_named(name: &str) -> Vec<u8> {
    image_of(&[Chain::named(name.as_bytes())]).0
}

fn image_of(chains: &[Chain<'_>]) -> Image {
    let mut image = Image(vec![0; 64]);
    let place = image.take(chains.len() * CHAIN);
    image.list(4, place, chains.len());
    for (index, chain) in chains.iter().enumerate() {
        let at = place + index * CHAIN;
        image.0[at] = chain.table;
        image.0[at + 1] = chain.families;
        image.text(at + 4, chain.name);
        let rules = image.take(chain.rules.len() * RULE);
        image.list(at + 12, rules, chain.rules.len());
        for (index, rule) in chain.rules.iter().enumerate() {
            image.rule(rules + index * RULE, rule);
        }
    }
    image
}

/// A data segment with an answer of one attachment: numbers of table and hook.
pub fn attachment(table: u8, hook: u8, rule: &Rule<'_>) -> String {
    let mut image = Image(vec![0; 64]);
    let at = image.take(ATTACHMENT);
    image.list(12, at, 1);
    image.0[at..at + 4].copy_from_slice(&[table, hook, 1, 0]);
    image.rule(at + 8, rule);
    image.data()
}

/// A data segment with an answer of one set of addresses, whose list of members is at `place` and claims `length`.
pub fn set(name: &[u8], place: u32, length: u32) -> String {
    let mut image = Image(vec![0; 64]);
    let at = image.take(60);
    image.list(20, at, 1);
    image.text(at, name);
    image.word(at + 24, place);
    image.word(at + 28, length);
    image.data()
}

/// Writes words to memory: bodies of guests that forge pointers and lengths.
pub fn store(words: &[(u32, u32)]) -> String {
    words
        .iter()
        .map(|(at, value)| format!("(i32.store (i32.const {at}) (i32.const {}))", value.cast_signed()))
        .collect()
}
