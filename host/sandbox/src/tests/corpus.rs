//! Each component of the corpus, and each compile bomb, meets the fate that the corpus says.

use std::time::Duration;

use ruleward_core::check::{self, OutputLimits};
use ruleward_core::grants::{Grants, Pattern};
use ruleward_core::names::{PolicyName, Table};
use ruleward_corpus::{Case, FUEL, Fate};

use crate::compile::CompileLimits;
use crate::testkit::{Guest, Kit, compiler, facts};
use crate::{CompileError, Compiler, Evaluation, Limit, LoadProblem};

fn grants() -> Grants {
    let patterns = || vec![Pattern::new("bad-*").unwrap()];
    Grants { tables: vec![Table::Filter], chains: patterns(), sets: patterns(), ..Grants::default() }
}

fn kit() -> Kit {
    let mut kit = Kit::new();
    kit.limits[Limit::Fuel] = FUEL;
    kit
}

/// What becomes of it: the stage that it reaches, and what is said there.
fn fate(kit: &Kit, case: &Case) -> (&'static str, String) {
    let path = kit.folder.path().join(format!("{}.wasm", case.name));
    case.place(&path).unwrap();
    let policy = match kit.load_file(&path) {
        Ok(policy) => policy,
        Err(error) => return ("not loaded", error.problem.to_string()),
    };
    let Evaluation { contribution, usage, log } = match policy.evaluate(&facts(), &grants(), "{}") {
        Ok(evaluation) => evaluation,
        Err(error) => return ("no answer", error.to_string()),
    };
    assert!(usage[Limit::Memory] <= kit.limits[Limit::Memory], "{}", case.name);
    let name = PolicyName::new("test").unwrap();
    let limits = OutputLimits::default();
    if let Err(refusals) = check::check(&name, &grants(), |_| true, limits, &contribution) {
        return ("not granted", refusals.iter().map(|refusal| format!("{refusal}; ")).collect());
    }
    ("harmless", log.lines.iter().map(|line| format!("{}\n", line.message)).collect())
}

#[test]
fn each_meets_its_fate_and_the_engine_goes_on() {
    let kit = kit();
    let mut surprises = Vec::new();
    for case in ruleward_corpus::all() {
        let (stage, words) = match case.fate {
            Fate::NotLoaded(words) => ("not loaded", words),
            Fate::NoAnswer(words) => ("no answer", words),
            Fate::NotGranted(words) => ("not granted", words),
            Fate::Harmless(words) => ("harmless", words),
        };
        let (reached, said) = fate(&kit, &case);
        let control = said.chars().any(|c| c.is_control() && c != '\n');
        if reached != stage || control || !words.iter().all(|word| said.contains(word)) {
            surprises.push(format!("{}: {reached}, not {stage}: {said}\n    expected {words:?}", case.name));
        }
    }
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
    kit.evaluate("i32.const 128").unwrap();
    let left = std::fs::read_dir(kit.cache()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| !name.to_string_lossy().ends_with(".cwasm")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn damaged_anywhere_it_is_refused_or_stays_within_its_limits() {
    let kit = kit();
    let whole = ruleward_corpus::good();
    let mut refused = 0;
    for seed in 0..120 {
        let damaged = ruleward_corpus::flipped(&whole, seed, 1 + usize::try_from(seed).unwrap() % 3);
        match kit.load(&damaged) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            // A flipped bit in a name or a constant may leave a policy that works.
            Ok(policy) => _ = policy.evaluate(&facts(), &grants(), "{}"),
        }
    }
    assert!(refused > 60, "{refused}");
}

/// Most memory of this process so far, bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn compile_bombs_end_in_the_child() {
    const MEMORY: u64 = 512 << 20;
    let limits = CompileLimits { memory: MEMORY, seconds: 1 };
    for bomb in ruleward_corpus::compile_bombs() {
        let kit = Kit::with_compiler(Compiler { limits, timeout: Duration::from_secs(600), ..compiler() });
        let before = peak_memory();
        let error = match kit.load(&bomb.component) {
            Err(error) => error,
            Ok(_) => panic!("{}: it is compiled within {limits:?}", bomb.name),
        };
        let LoadProblem::Compile(problem) = &error.problem else { panic!("{}: {error}", bomb.name) };
        let expected = match problem {
            CompileError::TooMuchTime(1) => "could not be compiled within 1 s of processor time",
            CompileError::TooMuchMemory(MEMORY) => "could not be compiled within 512 MiB of memory",
            other => panic!("{}: {other:?}", bomb.name),
        };
        assert!(error.to_string().contains(expected), "{}: {error}", bomb.name);
        eprintln!("{}: {} bytes: {problem}", bomb.name, bomb.component.len());
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < MEMORY / 2, "{}: this process grew by {grown} bytes", bomb.name);
        assert_eq!(std::fs::read_dir(kit.cache()).unwrap().count(), 0, "its folder is gone");
    }
    Kit::new().load(&Guest::default().component()).unwrap();
}
