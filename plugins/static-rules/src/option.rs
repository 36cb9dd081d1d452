//! The options that are iptables' own, as opposed to those of its extensions.

/// An option that a rule may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleOption {
    /// `-p`
    Protocol,
    /// `-s`
    Source,
    /// `-d`
    Destination,
    /// `-i`
    InInterface,
    /// `-o`
    OutInterface,
    /// `-m`
    Match,
    /// `-j`
    Jump,
    /// `-g`
    Goto,
    /// `-4`
    OnlyIpv4,
    /// `-6`
    OnlyIpv6,
}

/// What an unquoted word is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// An option of iptables, with its value if it stands in the same word.
    Own(RuleOption, Option<&'a str>),
    /// An option of an extension.
    Extension,
    /// A value.
    Value,
}

/// Says what a word is.
///
/// # Errors
/// When it is an option of iptables that has no place in a rule of a policy: why, and what to do.
pub fn kind(word: &str) -> Result<Kind<'_>, String> {
    if !word.starts_with('-') || word.len() < 2 {
        return Ok(Kind::Value);
    }
    let Some(long) = word.strip_prefix("--") else { return short(word) };
    let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
    let option = match name {
        "protocol" | "proto" => RuleOption::Protocol,
        "source" | "src" => RuleOption::Source,
        "destination" | "dst" => RuleOption::Destination,
        "in-interface" => RuleOption::InInterface,
        "out-interface" => RuleOption::OutInterface,
        "match" => RuleOption::Match,
        "jump" => RuleOption::Jump,
        "goto" => RuleOption::Goto,
        "ipv4" => RuleOption::OnlyIpv4,
        "ipv6" => RuleOption::OnlyIpv6,
        _ => return refused(word, name).map_or(Ok(Kind::Extension), Err),
    };
    Ok(Kind::Own(option, value))
}

fn short(word: &str) -> Result<Kind<'_>, String> {
    let option = match word {
        "-p" => RuleOption::Protocol,
        "-s" => RuleOption::Source,
        "-d" => RuleOption::Destination,
        "-i" => RuleOption::InInterface,
        "-o" => RuleOption::OutInterface,
        "-m" => RuleOption::Match,
        "-j" => RuleOption::Jump,
        "-g" => RuleOption::Goto,
        "-4" => RuleOption::OnlyIpv4,
        "-6" => RuleOption::OnlyIpv6,
        _ if word.as_bytes()[1].is_ascii_digit() => return Ok(Kind::Value),
        _ => {
            let name = match word {
                "-A" => "append",
                "-D" => "delete",
                "-I" => "insert",
                "-R" => "replace",
                "-C" => "check",
                "-N" => "new-chain",
                "-t" => "table",
                "-c" => "set-counters",
                "-f" => "fragment",
                "-w" => "wait",
                _ => "",
            };
            let unknown =
                || format!("{word} is not an option of a rule; a value must be a word of its own, after a blank");
            return Err(refused(word, name).unwrap_or_else(unknown));
        }
    };
    Ok(Kind::Own(option, None))
}

/// Why an option of iptables is refused; nothing if `name` is none of them.
fn refused(word: &str, name: &str) -> Option<String> {
    let reason = match name {
        "append" | "insert" | "new-chain" | "replace" | "delete" | "check" => {
            "leave it out together with the chain's name: the entry's `name` or `hook` says which chain, and the place in the list which rule"
        }
        "table" => "leave it out: the entry's `table` says which table",
        "set-counters" => "leave the counters out: the kernel counts",
        "fragment" | "fragments" => r#"write -m u32 --u32 "4&0x1FFF=1:0x1FFF" instead"#,
        "wait" | "modprobe" | "numeric" | "verbose" | "exact" | "line-numbers" | "help" | "version" | "flush"
        | "delete-chain" | "rename-chain" | "policy" | "list" | "list-rules" | "zero" => {
            "leave it out: it says how iptables works, not what the rule is"
        }
        _ => return None,
    };
    Some(format!("{word}: {reason}"))
}
