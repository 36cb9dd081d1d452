//! What is measured: which parts, with how many rules, how often.

use std::path::PathBuf;
use std::time::Duration;

use ruleward_tests::{Backend, Netns, sandbox};

use crate::rules::Rules;
use crate::stock;

/// Tried in a user namespace, from the largest: the socket's buffer can't be enlarged there as far as root can.
const TRIED_IN_USER_NAMESPACE: [usize; 5] = [800, 400, 200, 100, 50];
/// The kernel takes a namespace apart in the background; measuring goes on when it has had time for that.
const SETTLING: Duration = Duration::from_millis(300);
/// Of a smoke.
const FEW_RULES: usize = 100;
const FEW_TIMES: usize = 2;
const SHORTER: u32 = 10;

/// What is measured.
pub struct Plan {
    pub parts: Vec<String>,
    pub json: Option<PathBuf>,
    /// Only whether it can be measured.
    pub smoke: bool,
    sizes: Option<Vec<usize>>,
    /// Those that this machine has.
    backends: Vec<Backend>,
    /// Most rules of one nft transaction, if there is such a limit here.
    nft_limit: Option<usize>,
}

impl Plan {
    /// By the words of a command line; `known` parts there are.
    pub fn parse(words: &[String], known: &[&str]) -> Result<Self, String> {
        let mut plan = Self {
            parts: Vec::new(),
            json: None,
            smoke: false,
            sizes: None,
            backends: Backend::ALL.to_vec(),
            nft_limit: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--smoke" => plan.smoke = true,
                "--json" => plan.json = Some(value()?.into()),
                "--rules" => plan.sizes = Some(numbers(value()?)?),
                "--only" => plan.parts.extend(value()?.split(',').map(str::to_owned)),
                part if !part.starts_with('-') => plan.parts.push(part.to_owned()),
                _ => {
                    return Err(format!(
                        "unknown option `{word}`; there are --list, --smoke, --json FILE, --rules 1000,10000, --only PARTS"
                    ));
                }
            }
        }
        if let Some(part) = plan.parts.iter().find(|part| !known.contains(&part.as_str())) {
            return Err(format!("{part} can't be measured; there are {}", known.join(", ")));
        }
        if plan.parts.is_empty() {
            plan.parts = known.iter().map(ToString::to_string).collect();
        }
        if plan.smoke && plan.json.is_some() {
            return Err("a smoke measures nothing that --json could keep".to_owned());
        }
        Ok(plan)
    }

    /// Whether this part is measured.
    pub fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|one| one == part)
    }

    /// Finds out what this machine permits.
    pub fn explore(&mut self) -> Result<(), String> {
        let usable = |backend: &Backend| match stock::unusable(*backend) {
            None => true,
            Some(reason) => {
                eprintln!("!!! skipped: everything on {backend}: {reason}");
                false
            }
        };
        self.backends.retain(usable);
        if !sandbox::is_real_root() && self.backends.contains(&Backend::Nft) {
            let limit = nft_limit();
            eprintln!(
                "==> in a user namespace one nft transaction takes few rules: nft is measured with at most {limit}"
            );
            self.nft_limit = Some(limit);
        }
        if self.backends.is_empty() { Err("this machine has neither backend".to_owned()) } else { Ok(()) }
    }

    /// Those that this machine has.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Numbers of rules, ascending; none where the machine does not have the backend.
    pub fn sizes(&self, backend: Backend) -> Vec<usize> {
        if !self.backends.contains(&backend) {
            return Vec::new();
        }
        let sizes = self.given();
        let limit = self.nft_limit.filter(|_| backend == Backend::Nft).unwrap_or(usize::MAX);
        let mut sizes: Vec<usize> = sizes.iter().map(|size| (*size).min(limit)).collect();
        sizes.dedup();
        sizes
    }

    fn given(&self) -> &[usize] {
        let usual: &[usize] = if self.smoke { &[FEW_RULES] } else { &[1_000, 10_000, 50_000] };
        self.sizes.as_deref().unwrap_or(usual)
    }

    /// Numbers of rules that are not above `most`, where no backend matters.
    pub fn sizes_up_to(&self, most: usize) -> Vec<usize> {
        self.given().iter().copied().filter(|size| *size <= most).collect()
    }

    /// The largest number of rules that is not above `most`, which stands in where all are; none where the machine does not
    /// have the backend.
    pub fn largest(&self, backend: Backend, most: usize) -> Option<usize> {
        let sizes = self.sizes(backend);
        let first = sizes.first()?;
        Some(sizes.iter().copied().rfind(|size| *size <= most).unwrap_or(most.min(*first)))
    }

    /// How often a case with that many rules is repeated.
    pub fn repetitions(&self, rules: usize) -> usize {
        self.times(match rules {
            0..=2_000 => 15,
            2_001..=20_000 => 9,
            _ => 5,
        })
    }

    /// So often; a few times in a smoke.
    pub fn times(&self, times: usize) -> usize {
        if self.smoke { times.min(FEW_TIMES) } else { times }
    }

    /// How often a component is compiled, which takes seconds.
    pub fn compilations(&self) -> usize {
        if self.smoke { 1 } else { 3 }
    }

    /// So long; shorter in a smoke.
    pub fn time(&self, time: Duration) -> Duration {
        if self.smoke { time / SHORTER } else { time }
    }

    /// After a namespace.
    pub fn settle(&self) {
        std::thread::sleep(self.time(SETTLING));
    }
}

fn numbers(text: &str) -> Result<Vec<usize>, String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    let mut numbers = numbers.map_err(|_| format!("--rules {text}: numbers with commas are expected"))?;
    if numbers.contains(&0) {
        return Err("--rules: 0 rules can't be compared".to_owned());
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The most rules that the stock tool can commit at once here.
fn nft_limit() -> usize {
    let folder = tempfile::tempdir().expect("a directory for temporary files");
    let takes = |count: &usize| {
        let script = stock::script(folder.path(), "trial", &Rules::ours(*count).script());
        Netns::new().run(|| stock::try_restore(Backend::Nft, &script)).is_ok()
    };
    let most = TRIED_IN_USER_NAMESPACE.into_iter().find(takes);
    most.expect("iptables-nft-restore commits a few rules in a user namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Plan, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Plan::parse(&words, &["start", "memory", "events", "flush"])
    }

    #[test]
    fn options_are_read() {
        let plan = parse(&["--rules", "2000,100", "--only", "start,memory", "--json", "/tmp/x"]).unwrap();
        assert_eq!((plan.sizes(Backend::Nft), plan.parts), (vec![100, 2000], vec!["start".into(), "memory".into()]));
        for wrong in [&["--rules", "x"][..], &["--only", "x"], &["--x"], &["--rules", "0"], &["--json"], &["event"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let plan = parse(&["events", "--rules", "100", "flush"]).unwrap();
        assert_eq!((plan.sizes(Backend::Legacy), plan.parts), (vec![100], vec!["events".into(), "flush".into()]));
    }

    #[test]
    fn a_smoke_is_short_and_keeps_no_number() {
        let plan = parse(&["--smoke"]).unwrap();
        assert_eq!((plan.sizes(Backend::Nft), plan.times(200), plan.parts.len()), (vec![FEW_RULES], FEW_TIMES, 4));
        assert!(parse(&["--smoke", "--json", "x"]).is_err());
    }

    #[test]
    fn a_limit_of_nft_leaves_legacy_alone() {
        let plan = Plan { nft_limit: Some(400), ..parse(&[]).unwrap() };
        assert_eq!(plan.sizes(Backend::Nft), [400]);
        assert_eq!(plan.sizes(Backend::Legacy), [1_000, 10_000, 50_000]);
        assert_eq!(
            (plan.largest(Backend::Nft, 1_000), plan.largest(Backend::Legacy, 10_000)),
            (Some(400), Some(10_000))
        );
        assert_eq!(Plan { backends: vec![Backend::Legacy], ..plan }.largest(Backend::Nft, 1_000), None);
    }
}
