//! Reads what `iptables-restore` and `ipset restore` say when they refuse a script: which line, and why.
//!
//! The wording differs by backend, by the stage that fails and by version; what is not understood is passed on as
//! it is. The line is where the tool noticed: a jump to a chain that does not exist, and on legacy everything that
//! only the kernel refuses, is reported at the COMMIT of its table.

/// What is known of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Line of the script, from 1.
    pub line: Option<usize>,
    /// The reason in the tool's words, without its name and its advice to read the help.
    pub message: String,
    /// What it warned of, maybe of other rules: no reasons.
    pub warnings: Vec<String>,
    /// More than one thing was said, maybe of several rules.
    pub vague: bool,
}

/// Takes the error output of `program` apart.
pub(super) fn parse(stderr: &str) -> Refusal {
    let mut line = None;
    let mut reasons: Vec<&str> = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    for text in stderr.lines() {
        let text = without_name(text.trim());
        if let Some((number, rest)) = line_number(text) {
            line = line.or(Some(number));
            reasons.extend(Some(rest).filter(|rest| !rest.is_empty()));
        } else if is_warning(text) {
            warnings.push(text.to_owned());
        } else if !text.is_empty() && !is_advice(text) {
            reasons.push(text);
        }
    }
    // Of what it prints the last is what ended it.
    let vague = reasons.len() > 1 || !warnings.is_empty();
    let last = reasons.split_off(reasons.len().saturating_sub(3));
    Refusal { line, message: last.join(" / "), warnings, vague }
}

/// Whether it is no reason to refuse anything: the tool goes on after it.
fn is_warning(text: &str) -> bool {
    let text = text.trim_start_matches("# ");
    text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("warning:"))
}

/// Whether it is advice for who sits at a terminal.
fn is_advice(text: &str) -> bool {
    text.starts_with("Try `") || text.starts_with("# ")
}

/// Drops `iptables-restore v1.8.9 (legacy): `, `iptables-nft-restore: ` and `ipset v7.17: `, also when doubled.
fn without_name(text: &str) -> &str {
    let mut rest = text;
    while let Some((name, after)) = rest.split_once(": ").or_else(|| rest.strip_suffix(':').map(|name| (name, ""))) {
        let program = name.split(' ').next().unwrap_or_default();
        let known = ["iptables", "ip6tables", "xtables", "ipset"].iter().any(|known| program.starts_with(known));
        if !known || name.split(' ').count() > 3 {
            break;
        }
        rest = after;
    }
    rest.trim()
}

/// The line number that `text` names, and the reason beside it.
fn line_number(text: &str) -> Option<(usize, &str)> {
    const LEADS: [&str; 4] = ["Error occurred at line: ", "Error in line ", "COMMIT expected at line ", "line "];
    let (lead, rest) = LEADS.iter().find_map(|lead| Some((*lead, text.strip_prefix(lead)?)))?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse().ok()?;
    let rest = rest[digits..].trim_start();
    let rest = rest.strip_prefix("failed").unwrap_or(rest).trim_start_matches([':', ' ']);
    Some((number, if lead.starts_with("COMMIT") { "COMMIT expected" } else { rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(stderr: &str, line: impl Into<Option<usize>>, message: &str) {
        let refusal = parse(stderr);
        assert_eq!((refusal.line, &*refusal.message), (line.into(), message));
    }

    #[test]
    fn nft_names_the_rule_that_the_kernel_refused() {
        let text = "iptables-nft-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (Invalid argument): rule in chain INPUT\n";
        says(text, 3, "RULE_APPEND failed (Invalid argument): rule in chain INPUT");
    }

    #[test]
    fn nft_names_a_rule_that_is_not_there() {
        let text = "iptables-nft-restore: line 2 failed: Bad rule (does a matching rule exist in that chain?).\n";
        says(text, 2, "Bad rule (does a matching rule exist in that chain?).");
    }

    #[test]
    fn legacy_names_the_line_only() {
        says("iptables-restore: line 4 failed\n", 4, "");
        says("ip6tables-legacy-restore: line 4 failed\n", 4, "");
    }

    #[test]
    fn both_explain_what_they_cannot_read() {
        let text = "iptables-restore v1.8.9 (legacy): unknown option \"--nosuch\"\nError occurred at line: 2\n\
            Try `iptables-restore -h' or 'iptables-restore --help' for more information.\n";
        says(text, 2, "unknown option \"--nosuch\"");
        let text = "ip6tables-nft-restore v1.8.9 (nf_tables): Couldn't load match `nosuch':No such file or directory\n\n\
            Error occurred at line: 12\nTry `ip6tables-nft-restore -h' or 'ip6tables-nft-restore --help' for more information.\n";
        says(text, 12, "Couldn't load match `nosuch':No such file or directory");
        says("Bad argument `garbage'\nError occurred at line: 7\n", 7, "Bad argument `garbage'");
    }

    #[test]
    fn other_forms_of_line_numbers() {
        says("iptables-nft-restore: COMMIT expected at line 3\n", 3, "COMMIT expected");
        let text = "iptables-nft-restore v1.8.9 (nf_tables): iptables-nft-restore: line 1 table name 'nosuch' invalid\n\
            Error occurred at line: 1\n";
        says(text, 1, "table name 'nosuch' invalid");
        let text = "ipset v7.17: Error in line 3: Element cannot be added to the set: it's already added\n";
        says(text, 3, "Element cannot be added to the set: it's already added");
    }

    #[test]
    fn without_a_line_the_message_stays() {
        let text =
            "ipset v7.17: No command specified: unknown argument nonsense\nTry `ipset help' for more information.\n";
        says(text, None, "No command specified: unknown argument nonsense");
        says("", None, "");
        says("line x failed", None, "line x failed");
    }

    #[test]
    fn a_warning_is_no_reason() {
        let warning = "Warning: weird character in interface `a/b' ('/' and ' ' are not allowed by the kernel).";
        let refusal = parse(&format!("{warning}\niptables-restore: line 5 failed\n"));
        assert_eq!((refusal.line, &*refusal.message, refusal.warnings), (Some(5), "", vec![warning.to_owned()]));
    }

    #[test]
    fn a_warning_about_the_other_backend_is_no_reason() {
        let text = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n\
            iptables-nft-restore: line 2 failed: No chain/target/match by that name.\n";
        says(text, 2, "No chain/target/match by that name.");
    }
}
