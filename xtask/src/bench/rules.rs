//! The rules of the benchmark: chains of twenty, IPv4, table filter. Half of the rules are written as iptables-save
//! shows them, half are not, as in real policies: the host keeps a second text for those.

use std::fmt::Write as _;

/// Built-in chains with a jump to the first chain.
pub const HOOKS: [&str; 3] = ["INPUT", "FORWARD", "OUTPUT"];
/// Rules in one chain.
pub const PER_CHAIN: usize = 20;

/// That many rules, rounded up to whole chains, in chains whose names begin with `prefix`.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub count: usize,
    pub prefix: &'static str,
}

impl Rules {
    /// Those that the host guards.
    pub fn ours(count: usize) -> Self {
        Self { count, prefix: "bm-" }
    }

    /// Number of chains.
    pub fn chains(self) -> usize {
        self.count.div_ceil(PER_CHAIN)
    }

    /// Name of chain `index`.
    pub fn chain(self, index: usize) -> String {
        format!("{}{index:05}", self.prefix)
    }

    fn texts(self, chain: usize) -> impl Iterator<Item = String> {
        let first = chain * PER_CHAIN;
        (first..(first + PER_CHAIN).min(self.count)).map(text)
    }

    /// What a plain iptables-restore is fed: all chains, and jumps to the first one.
    pub fn script(self) -> String {
        let mut script = String::from("*filter\n");
        for chain in 0..self.chains() {
            let _ = writeln!(script, ":{} - [0:0]", self.chain(chain));
        }
        for chain in 0..self.chains() {
            self.push_rules(&mut script, chain);
        }
        for hook in HOOKS {
            let _ = writeln!(script, "-A {hook} -j {}", self.chain(0));
        }
        script.push_str("COMMIT\n");
        script
    }

    /// The script that writes one chain anew.
    pub fn one_chain(self, chain: usize) -> String {
        let mut script = format!("*filter\n:{} - [0:0]\n", self.chain(chain));
        self.push_rules(&mut script, chain);
        script.push_str("COMMIT\n");
        script
    }

    fn push_rules(self, script: &mut String, chain: usize) {
        for text in self.texts(chain) {
            let _ = writeln!(script, "-A {} {text}", self.chain(chain));
        }
    }

    /// The line of the settings that is about one chain, with its rules in order or the other way round.
    pub fn chain_settings(self, chain: usize, backwards: bool) -> String {
        let name = self.chain(chain);
        let mut rules: Vec<String> = self.texts(chain).map(|text| format!("\"{text}\"")).collect();
        if backwards {
            rules.reverse();
        }
        let rules = rules.join(", ");
        format!("{{ table = \"filter\", name = \"{name}\", families = [\"ipv4\"], rules = [{rules}] }},\n")
    }

    /// The same as settings of static-rules, in TOML.
    pub fn settings(self) -> String {
        let mut settings = String::from("chains = [\n");
        for chain in 0..self.chains() {
            settings.push_str(&self.chain_settings(chain, false));
        }
        settings.push_str("]\n");
        if self.count > 0 {
            settings.push_str("attachments = [\n");
            for hook in HOOKS {
                let _ = write!(settings, "{{ table = \"filter\", hook = \"{hook}\", families = [\"ipv4\"], ");
                let _ = writeln!(settings, "rule = \"-j {}\" }},", self.chain(0));
            }
            settings.push_str("]\n");
        }
        settings
    }
}

fn text(number: usize) -> String {
    let (high, low) = (number / 250, number % 250 + 1);
    let port = number % 60_000 + 1;
    match number % 4 {
        0 => format!("-s 10.1.{high}.{low}/32 -j ACCEPT"),
        1 => format!("-p tcp --dport {port} -j ACCEPT"),
        2 => format!("-d 10.2.{high}.{low}/32 -p udp -m udp --dport {port} -j DROP"),
        _ => format!("-m comment --comment rule-{number} -p tcp -s 10.3.{high}.{low} -j RETURN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_settings_say_the_same() {
        let rules = Rules::ours(50);
        let (script, settings) = (rules.script(), rules.settings());
        assert_eq!(rules.chains(), 3);
        assert_eq!(script.lines().filter(|line| line.starts_with("-A bm-")).count(), 50);
        for hook in HOOKS {
            assert!(script.contains(&format!("-A {hook} -j bm-00000\n")) && settings.contains(hook), "{hook}");
        }
        for number in 0..50 {
            let text = text(number);
            assert!(script.contains(&format!(" {text}\n")) && settings.contains(&format!("\"{text}\"")), "{text}");
        }
    }
}
