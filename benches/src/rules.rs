//! The rules of the benchmark: chains of twenty, IPv4, table filter. Half of the rules are written as iptables-save
//! shows them, half are not, as in real policies: the host keeps a second text for those.

use std::fmt::Write as _;

use ruleward_tests::policies::{attachment, chain};
use ruleward_tests::{Family, Placement};
use serde_json::{Value, json};

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

    /// A static-rules policy with all of them, those of one chain backwards if that is wished.
    pub fn policy(self, backwards: Option<usize>) -> Value {
        let ours = |index: usize| {
            let mut rules: Vec<String> = self.texts(index).collect();
            if backwards == Some(index) {
                rules.reverse();
            }
            chain(Family::Ipv4, "filter", &self.chain(index), &rules)
        };
        let jump = |hook| attachment(Family::Ipv4, "filter", hook, Placement::First, &format!("-j {}", self.chain(0)));
        let chains: Vec<Value> = (0..self.chains()).map(ours).collect();
        let attachments: Vec<Value> = HOOKS.into_iter().filter(|_| self.count > 0).map(jump).collect();
        json!({
            "component": "static-rules.wasm",
            "grants": { "tables": ["filter"], "chains": [format!("{}*", self.prefix)] },
            "limits": {
                "memory": "512MiB", "time": "30s", "fuel": 100_000_000_000_u64, "chains": 100_000, "rules": 1_000_000,
                "output": "512MiB",
            },
            "settings": { "chains": chains, "attachments": attachments },
        })
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
        let (script, settings) = (rules.script(), rules.policy(None)["settings"].to_string());
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
