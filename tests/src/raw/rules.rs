//! Rules of nf_tables: read, deleted by handle, added from bytes or with a comment. Layouts:
//! `linux/netfilter/nf_tables.h`, `linux/netfilter/nf_tables_compat.h`.

use std::io;

use super::Result;
use super::netlink::{
    Attributes, Message, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, Socket, parse,
};

const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_DELRULE: u16 = 8;
const NFT_MSG_GETGEN: u16 = 16;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

/// A chain.
pub struct Place {
    family: u8,
    table: String,
    chain: String,
}

impl Place {
    /// By the names of family (`ipv4` or `ipv6`), table and chain.
    ///
    /// # Errors
    /// When there is no such family.
    pub fn parse(family: &str, table: &str, chain: &str) -> Result<Self> {
        let family = match family {
            "ipv4" => 2,
            "ipv6" => 10,
            other => return Err(format!("no such family: {other}").into()),
        };
        Ok(Self { family, table: table.to_owned(), chain: chain.to_owned() })
    }

    /// The same as one word, `FAMILY:TABLE:CHAIN`.
    ///
    /// # Errors
    /// When it is another word.
    pub fn parse_joined(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(family), Some(table), Some(chain), None) => Self::parse(family, table, chain),
            _ => Err(format!("not FAMILY:TABLE:CHAIN: {text}").into()),
        }
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().text(NFTA_RULE_TABLE, &self.table).text(NFTA_RULE_CHAIN, &self.chain)
    }

    /// A change of a rule that asks for an acknowledgement.
    fn message(&self, kind: u16, flags: u16, attributes: Attributes) -> Message {
        Message { kind, flags: flags | NLM_F_ACK, family: self.family, attributes }
    }

    /// The deletion of a rule.
    pub fn delete(&self, rule: &Rule) -> Message {
        self.message(NFT_MSG_DELRULE, 0, self.attributes().bytes(NFTA_RULE_HANDLE, &rule.handle.to_be_bytes()))
    }

    /// A rule with nothing but a comment, behind or in front of all others; the kernel echoes its handle.
    pub fn commented(&self, comment: &str, append: bool) -> Message {
        let flags = NLM_F_CREATE | NLM_F_ECHO | if append { NLM_F_APPEND } else { 0 };
        let expressions = Attributes::default().nest(NFTA_LIST_ELEM, &counter());
        let attributes = self.attributes().nest(NFTA_RULE_EXPRESSIONS, &expressions);
        self.message(NFT_MSG_NEWRULE, flags, attributes.bytes(NFTA_RULE_USERDATA, &userdata(comment)))
    }

    /// The creation of the chain.
    pub fn create(&self) -> Message {
        let names = Attributes::default().text(NFTA_CHAIN_TABLE, &self.table).text(NFTA_CHAIN_NAME, &self.chain);
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, names)
    }
}

/// An expression that counts packets. No extension of xtables: for those the kernel waits until all rules that went
/// before are gone for good, some 10 ms.
fn counter() -> Attributes {
    let zero = [0; 8];
    Attributes::default()
        .text(NFTA_EXPR_NAME, "counter")
        .nest(NFTA_EXPR_DATA, &Attributes::default().bytes(1, &zero).bytes(2, &zero))
}

/// What iptables-nft-save shows as `-m comment --comment COMMENT`: type 0, length, text.
fn userdata(comment: &str) -> Vec<u8> {
    [&[0, comment.len() as u8 + 1], comment.as_bytes(), &[0]].concat()
}

/// A dumped rule.
pub struct Rule {
    handle: u64,
    expressions: Vec<u8>,
    userdata: Option<Vec<u8>>,
}

impl Rule {
    /// From a message's attributes.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let attributes = parse(body);
        let find = |kind| attributes.iter().find(|(of, _)| *of == kind).map(|(_, content)| *content);
        Some(Self {
            handle: u64::from_be_bytes(find(NFTA_RULE_HANDLE)?.try_into().ok()?),
            expressions: find(NFTA_RULE_EXPRESSIONS).unwrap_or_default().to_vec(),
            userdata: find(NFTA_RULE_USERDATA).map(<[u8]>::to_vec),
        })
    }

    /// Whether these bytes are in it: a comment, a chain's name.
    pub fn holds(&self, needle: &str) -> bool {
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        has(&self.expressions) || self.userdata.as_deref().is_some_and(has)
    }

    /// What the rule says: its expressions without counters, which packets change.
    pub fn meaning(&self) -> Vec<u8> {
        let counts = |element: &[u8]| parse(element).iter().any(|(_, content)| content.starts_with(b"counter\0"));
        let expressions = parse(&self.expressions).into_iter().filter(|(_, element)| !counts(element));
        let meaning = expressions.flat_map(|(_, element)| element.to_vec());
        meaning.chain(self.userdata.iter().flatten().copied()).collect()
    }
}

/// A connection to nf_tables.
pub struct Nft(Socket);

impl Nft {
    /// In the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or forbids it.
    pub fn open() -> io::Result<Self> {
        Socket::open().map(Self)
    }

    /// The number that rises with every change of the namespace.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn generation(&mut self) -> Result<u32> {
        let question = Message { kind: NFT_MSG_GETGEN, flags: 0, family: 0, attributes: Attributes::default() };
        let (bodies, _) = self.0.ask(&question)?;
        let body = bodies.first().ok_or("no generation")?;
        let (_, content) = *parse(body).iter().find(|(kind, _)| *kind == 1).ok_or("no generation")?;
        Ok(u32::from_be_bytes(content.try_into()?))
    }

    /// The rules of a chain, in order; none where there is no such chain. None at all if a writer came between.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn try_dump(&mut self, place: &Place) -> io::Result<Option<Vec<Rule>>> {
        let question =
            Message { kind: NFT_MSG_GETRULE, flags: NLM_F_DUMP, family: place.family, attributes: place.attributes() };
        match self.0.ask(&question) {
            Ok((_, false)) => Ok(None),
            Ok((bodies, true)) => Ok(Some(bodies.iter().filter_map(|body| Rule::parse(body)).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// The rules of a chain as they were together at one moment. A dump alone is not that: where a transaction comes in
    /// its midst, a rule that is moved may be missing from both of its places, and a short dump does not say so.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn settled(&mut self, place: &Place) -> Result<Vec<Rule>> {
        loop {
            let generation = self.generation()?;
            let rules = self.try_dump(place)?;
            if let Some(rules) = rules
                && self.generation()? == generation
            {
                return Ok(rules);
            }
        }
    }

    /// One transaction; what the kernel echoes of it.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn commit(&mut self, messages: &[Message]) -> io::Result<Vec<Vec<u8>>> {
        self.0.commit(messages)
    }

    fn number(&mut self, place: &Place, number: usize) -> Result<Rule> {
        let rules = self.settled(place)?;
        let count = rules.len();
        let rule = number.checked_sub(1).and_then(|at| rules.into_iter().nth(at));
        rule.ok_or_else(|| format!("there are {count} rules").into())
    }

    /// Deletes a rule by its number from 1.
    ///
    /// # Errors
    /// When there is no such rule, or the kernel refuses.
    pub fn delete_number(&mut self, place: &Place, number: usize) -> Result<()> {
        let rule = self.number(place, number)?;
        self.commit(&[place.delete(&rule)])?;
        Ok(())
    }

    /// Deletes the rules that hold `needle`, in one transaction, however often they move meanwhile; how many there were.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete_needle(&mut self, place: &Place, needle: &str) -> Result<usize> {
        loop {
            let rules = self.settled(place)?;
            let deletions: Vec<_> =
                rules.iter().filter(|rule| rule.holds(needle)).map(|rule| place.delete(rule)).collect();
            if deletions.is_empty() {
                return Ok(0);
            }
            match self.commit(&deletions) {
                Ok(_) => return Ok(deletions.len()),
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends a copy of a rule to its chain.
    ///
    /// # Errors
    /// When there is no such rule, or the kernel refuses.
    pub fn append_copy(&mut self, place: &Place, number: usize) -> Result<()> {
        let rule = self.number(place, number)?;
        let mut attributes = place.attributes().nest(NFTA_RULE_EXPRESSIONS, &Attributes(rule.expressions));
        if let Some(userdata) = &rule.userdata {
            attributes = attributes.bytes(NFTA_RULE_USERDATA, userdata);
        }
        self.commit(&[place.message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, attributes)])?;
        Ok(())
    }
}
