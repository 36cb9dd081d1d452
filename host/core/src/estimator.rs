//! Rate estimators: the one thing that a rule makes (`-j RATEEST`) and another rule refers to (`-m rateest`). The kernel
//! takes the second only while there is the first, so what makes one comes first, wherever rules are written.

use crate::quote;

/// Whether a rule may make an estimator.
pub fn makes(rule: &str) -> bool {
    rule.contains("RATEEST")
}

/// Whether a rule may refer to one.
pub fn uses(rule: &str) -> bool {
    rule.contains("rateest ")
}

/// The target of a rule that makes an estimator, with its options, in the words of iptables-restore.
pub fn target(rule: &str) -> Option<String> {
    if !makes(rule) {
        return None;
    }
    let words: Vec<_> = quote::words(rule).collect();
    let at = words.windows(2).position(|pair| matches!(&*pair[0], "-j" | "--jump") && pair[1] == "RATEEST")?;
    // Three options with a value each.
    let options = words[at + 2..].chunks_exact(2).take_while(|pair| pair[0].starts_with("--rateest-"));
    let mut line = "-j RATEEST".to_owned();
    options.flatten().for_each(|word| quote::push_word(&mut line, word));
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_found_with_its_options() {
        let made = "-j RATEEST --rateest-name e --rateest-interval 250.0ms --rateest-ewmalog 500.0ms";
        assert_eq!(target(made).as_deref(), Some(made));
        let rule = format!("-p tcp {made} -m comment --comment RATEEST");
        assert_eq!(target(&rule).as_deref(), Some(made));
        assert_eq!(target("-m comment --comment \"-j RATEEST\" -j ACCEPT"), None);
    }
}
