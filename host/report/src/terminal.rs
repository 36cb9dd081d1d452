//! What a terminal can show.

/// Whether to use colours: on a terminal that has them, by the conventions of no-color.org and bixense.com/clicolors.
pub fn colours(terminal: bool) -> bool {
    wants_colours(terminal, |name| std::env::var(name).ok())
}

fn wants_colours(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    if is_set("NO_COLOR") {
        return false;
    }
    let forced = variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    forced || (terminal && variable("TERM").is_none_or(|terminal| terminal != "dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let wants = |terminal, set: &[(&str, &str)]| {
            let set = set.to_vec();
            wants_colours(terminal, move |name| {
                set.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(wants(true, &[]) && !wants(false, &[]));
        assert!(wants(true, &[("NO_COLOR", "")]) && !wants(true, &[("NO_COLOR", "1")]));
        assert!(!wants(true, &[("TERM", "dumb")]) && wants(true, &[("TERM", "xterm")]));
        assert!(wants(false, &[("CLICOLOR_FORCE", "1")]) && !wants(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!wants(true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), "who wants none has the last word");
    }
}
