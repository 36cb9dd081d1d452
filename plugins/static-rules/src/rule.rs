//! Reads one rule in iptables' own syntax. An option that is not iptables' own belongs to the `-m` or `-j` before it,
//! or, where there is none, to the match of the rule's protocol, as with iptables.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ruleward_sdk::{
    Extension, Families, Family, InterfaceMatch, IpNetwork, Match, NetworkMatch, ProtocolMatch, Rule, Table, Target,
};

use crate::conversion;
use crate::option::{self, Kind, RuleOption};
use crate::word::Words;
use crate::{address, protocol_name};

/// What a rule's text depends on.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The table that it is in.
    pub table: Table,
    /// The chains of the settings.
    pub chains: &'a BTreeSet<(Table, &'a str)>,
    /// The families of the chain.
    pub families: Families,
    /// It jumps to somebody else's chain.
    pub awaits_target: bool,
}

/// A rule as read. It may stand for several: one for each pair of addresses.
#[derive(Debug)]
pub struct ReadRule {
    families: Families,
    sources: Vec<IpNetwork>,
    destinations: Vec<IpNetwork>,
    rule: Rule,
}

/// A match or target with its words.
#[derive(Debug)]
pub struct Module<'w, 'a> {
    /// What follows `-m` or `-j`.
    pub name: &'w mut Cow<'a, str>,
    /// What follows that.
    pub words: &'w mut [Cow<'a, str>],
}

impl Module<'_, '_> {
    /// The contract's case for everything.
    pub fn into_extension(self) -> Extension {
        let words = self.words.iter_mut().map(|word| std::mem::take(word).into_owned());
        Extension::new(std::mem::take(self.name).into_owned(), words)
    }
}

/// What a rule is collected in. Kept from rule to rule, since memory that is given back is not used again.
#[derive(Debug, Default)]
pub struct Scratch<'a> {
    /// Matches and the target, in order.
    modules: Vec<Opened<'a>>,
    /// The words of all of them, one after the other.
    words: Vec<Cow<'a, str>>,
}

#[derive(Debug)]
struct Opened<'a> {
    name: Cow<'a, str>,
    is_target: bool,
    /// Where its words begin; they end where those of the next begin.
    from: usize,
}

struct Reader<'a, 's> {
    surroundings: &'s Surroundings<'s>,
    scratch: &'s mut Scratch<'a>,
    words: Words<'a>,
    negated: bool,
    /// The last of the modules takes words.
    open: bool,
    families: Families,
    protocol: Option<ProtocolMatch>,
    source: Option<Networks>,
    destination: Option<Networks>,
    in_interface: Option<InterfaceMatch>,
    out_interface: Option<InterfaceMatch>,
    target: Option<Target>,
    has_target_module: bool,
}

/// The value of `-s` or `-d`.
struct Networks {
    first: NetworkMatch,
    others: Vec<IpNetwork>,
}

impl ReadRule {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse<'a>(
        text: &'a str,
        surroundings: &Surroundings<'_>,
        scratch: &mut Scratch<'a>,
    ) -> Result<Self, String> {
        scratch.modules.clear();
        scratch.words.clear();
        let mut reader = Reader {
            surroundings,
            scratch,
            words: Words::of(text)?,
            negated: false,
            open: false,
            families: surroundings.families,
            protocol: None,
            source: None,
            destination: None,
            in_interface: None,
            out_interface: None,
            target: None,
            has_target_module: false,
        };
        while let Some(word) = reader.words.next()? {
            if word.quoted {
                reader.value(word.text)?;
            } else if word.text == "!" {
                if reader.negated {
                    return Err("has two exclamation marks in a row".into());
                }
                reader.negated = true;
            } else {
                reader.unquoted(word.text)?;
            }
        }
        reader.finish()
    }

    /// Gives every rule that it stands for, with the families that it applies to.
    pub fn expand(self, mut give: impl FnMut(Families, Rule)) {
        let Self { families, sources, destinations, rule } = self;
        if sources.is_empty() && destinations.is_empty() {
            return give(families, rule);
        }
        let either = |networks: Vec<IpNetwork>| -> Vec<Option<IpNetwork>> {
            if networks.is_empty() { vec![None] } else { networks.into_iter().map(Some).collect() }
        };
        let destinations = either(destinations);
        for source in either(sources) {
            for destination in &destinations {
                let condition = |network| NetworkMatch { network, negated: false };
                let mut rule = rule.clone();
                rule.matches.extend(source.map(condition).map(Match::Source));
                rule.matches.extend(destination.map(condition).map(Match::Destination));
                give(families, rule);
            }
        }
    }
}

impl<'a> Reader<'a, '_> {
    fn unquoted(&mut self, word: Cow<'a, str>) -> Result<(), String> {
        match option::kind(&word)? {
            Kind::Own(option, value) => {
                let value = value.map(str::to_owned);
                self.own(option, &word, value)
            }
            Kind::Value => self.value(word),
            Kind::Extension => {
                if !self.open {
                    let module = self.protocol.filter(|protocol| !protocol.negated);
                    let module = module.and_then(|protocol| protocol_name::module(protocol.number));
                    let Some(name) = module else {
                        return Err(format!(
                            "{word}: name its match before it, as in `-m multiport {word}` or `-p tcp {word}`"
                        ));
                    };
                    self.open_module(Cow::Borrowed(name), false);
                }
                self.value(word)
            }
        }
    }

    fn open_module(&mut self, name: Cow<'a, str>, is_target: bool) {
        self.scratch.modules.push(Opened { name, is_target, from: self.scratch.words.len() });
        self.open = true;
    }

    /// A word of the match or target that is open.
    fn value(&mut self, word: Cow<'a, str>) -> Result<(), String> {
        if !self.open {
            let quoted = word.contains('\'');
            let hint = if quoted { "; single quotes do not quote here, use double quotes" } else { "" };
            return Err(format!("{word:?} belongs to no option{hint}"));
        }
        if std::mem::take(&mut self.negated) {
            self.scratch.words.push(Cow::Borrowed("!"));
        }
        self.scratch.words.push(word);
        Ok(())
    }

    fn own(&mut self, option: RuleOption, word: &str, value: Option<String>) -> Result<(), String> {
        let negated = std::mem::take(&mut self.negated);
        let takes_none = matches!(option, RuleOption::OnlyIpv4 | RuleOption::OnlyIpv6);
        if negated && (takes_none || matches!(option, RuleOption::Match | RuleOption::Jump | RuleOption::Goto)) {
            return Err(format!("! can't stand before {word}"));
        }
        let value = match (value, takes_none) {
            (Some(_), true) => return Err(format!("{word} takes no value")),
            (None, true) => Cow::Borrowed(""),
            (Some(value), false) => Cow::Owned(value),
            (None, false) => {
                let next = self.words.next()?.ok_or_else(|| format!("{word} needs a value"))?;
                if next.text == "!" && !next.quoted {
                    return Err(format!("write the ! before {word}"));
                }
                next.text
            }
        };
        let twice = || Err(format!("has two {word}; iptables takes one"));
        match option {
            RuleOption::Protocol if self.protocol.is_some() => return twice(),
            RuleOption::Protocol => {
                let number = protocol_name::number(&value)?;
                if number == 0 && negated {
                    return Err("! -p all matches nothing".into());
                }
                self.protocol = Some(ProtocolMatch { number, negated });
            }
            RuleOption::Source if self.source.is_some() => return twice(),
            RuleOption::Source => self.source = Some(networks(word, &value, negated)?),
            RuleOption::Destination if self.destination.is_some() => return twice(),
            RuleOption::Destination => self.destination = Some(networks(word, &value, negated)?),
            RuleOption::InInterface if self.in_interface.is_some() => return twice(),
            RuleOption::InInterface => self.in_interface = Some(interface(word, value, negated)?),
            RuleOption::OutInterface if self.out_interface.is_some() => return twice(),
            RuleOption::OutInterface => self.out_interface = Some(interface(word, value, negated)?),
            RuleOption::Match => self.open_module(value, false),
            RuleOption::Jump => self.jump(value)?,
            RuleOption::Goto => self.set_target(Target::Goto(value.into_owned()))?,
            RuleOption::OnlyIpv4 => self.families &= Families::IPV4,
            RuleOption::OnlyIpv6 => self.families &= Families::IPV6,
        }
        Ok(())
    }

    fn jump(&mut self, name: Cow<'a, str>) -> Result<(), String> {
        match name.as_ref() {
            "ACCEPT" => self.set_target(Target::Accept),
            "DROP" => self.set_target(Target::Drop),
            "RETURN" => self.set_target(Target::Return),
            chain if self.names_chain(chain) => self.set_target(Target::Jump(name.into_owned())),
            _ => {
                self.check_no_target()?;
                self.has_target_module = true;
                self.open_module(name, true);
                Ok(())
            }
        }
    }

    /// Whether `-j NAME` means a chain. Targets of extensions have capital letters, digits and underscores only; a
    /// name of another form that is no chain of the settings is for the host to judge.
    fn names_chain(&self, name: &str) -> bool {
        let is_target = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        self.surroundings.awaits_target
            || !name.chars().all(is_target)
            || self.surroundings.chains.contains(&(self.surroundings.table, name))
    }

    /// A target without options: what options follow are the protocol's.
    fn set_target(&mut self, target: Target) -> Result<(), String> {
        self.check_no_target()?;
        self.target = Some(target);
        self.open = false;
        Ok(())
    }

    fn check_no_target(&self) -> Result<(), String> {
        if self.target.is_some() || self.has_target_module {
            return Err("has two targets; a rule has one".into());
        }
        Ok(())
    }

    fn finish(self) -> Result<ReadRule, String> {
        if self.negated {
            return Err("ends with an exclamation mark".into());
        }
        for (option, networks) in [("-s", &self.source), ("-d", &self.destination)] {
            if let Some(Networks { first, others }) = networks {
                for network in std::iter::once(&first.network).chain(others) {
                    check_family(option, *network, self.families)?;
                }
            }
        }
        let mut rule = Rule { target: self.target, ..Rule::new() };
        let protocol = self.protocol.filter(|protocol| protocol.number != 0);
        let given = [
            protocol.is_some(),
            self.source.is_some(),
            self.destination.is_some(),
            self.in_interface.is_some(),
            self.out_interface.is_some(),
        ];
        let given = given.into_iter().filter(|given| *given).count();
        let modules = self.scratch.modules.len() - usize::from(self.has_target_module);
        rule.matches.reserve_exact(given + modules);
        rule.matches.extend(protocol.map(Match::Protocol));
        let sources = one_or_list(self.source, Match::Source, &mut rule.matches);
        let destinations = one_or_list(self.destination, Match::Destination, &mut rule.matches);
        rule.matches.extend(self.in_interface.map(Match::InInterface));
        rule.matches.extend(self.out_interface.map(Match::OutInterface));
        add_modules(self.scratch, &mut rule, protocol.filter(|protocol| !protocol.negated));
        Ok(ReadRule { families: self.families, sources, destinations, rule })
    }
}

/// Turns the matches and the target that were collected into those of the rule.
fn add_modules(scratch: &mut Scratch<'_>, rule: &mut Rule, protocol: Option<ProtocolMatch>) {
    let protocol = protocol.map(|protocol| protocol.number);
    let mut words = &mut scratch.words[..];
    let mut modules = scratch.modules.iter_mut().peekable();
    let mut matches = 0;
    while let Some(opened) = modules.next() {
        let length = modules.peek().map_or(words.len(), |next| next.from - opened.from);
        let (own, rest) = words.split_at_mut(length);
        words = rest;
        let module = Module { name: &mut opened.name, words: own };
        if opened.is_target {
            rule.target = Some(conversion::target(module));
            continue;
        }
        match conversion::comment(&module) {
            Some(comment) if matches == 0 => rule.comment = Some(comment),
            _ => rule.matches.push(conversion::condition(module, protocol)),
        }
        matches += 1;
    }
}

/// One network becomes a condition at once; several are left for [`ReadRule::expand`].
fn one_or_list(
    networks: Option<Networks>,
    condition: fn(NetworkMatch) -> Match,
    matches: &mut Vec<Match>,
) -> Vec<IpNetwork> {
    let Some(Networks { first, mut others }) = networks else { return Vec::new() };
    if others.is_empty() {
        matches.push(condition(first));
    } else {
        others.insert(0, first.network);
    }
    others
}

fn networks(option: &str, value: &str, negated: bool) -> Result<Networks, String> {
    let (network, others) = address::list(value).map_err(|message| format!("{option} {message}"))?;
    if negated && !others.is_empty() {
        return Err(format!("! {option} takes one address or network; write a set, or one RETURN rule for each"));
    }
    Ok(Networks { first: NetworkMatch { network, negated }, others })
}

fn interface(option: &str, name: Cow<'_, str>, negated: bool) -> Result<InterfaceMatch, String> {
    if name.len() > 15 {
        return Err(format!("{option} {name}: a name of an interface has at most 15 bytes"));
    }
    Ok(InterfaceMatch { name: name.into_owned(), negated })
}

fn check_family(option: &str, network: IpNetwork, families: Families) -> Result<(), String> {
    let (own, other, name, short) = match network.family() {
        Family::Ipv4 => (Families::IPV4, Families::IPV6, "ipv4", "-4"),
        Family::Ipv6 => (Families::IPV6, Families::IPV4, "ipv6", "-6"),
    };
    if !families.contains(other) {
        return Ok(());
    }
    let network = std::net::IpAddr::from(network.address);
    let fix = if families.contains(own) {
        format!("begin the rule with {short}, or say families = [\"{name}\"] beside it")
    } else {
        format!("say families = [\"{name}\"] beside it")
    };
    Err(format!("{option} {network} is {name}, but the rule applies to the other family too; {fix}"))
}
