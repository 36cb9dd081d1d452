//! The walls of the house: which crate of the host knows which, as `docs/architecture.md` shows it,
//! and who alone may have what is heavy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::Run;
use crate::workspace;

const PAGE: &str = "docs/architecture.md";
const BEGIN: &str = "<!-- crates: written by `cargo xtask generate` -->\n";
const END: &str = "<!-- end -->";
/// Dependencies that these crates of the host alone may have.
const ALONE: [(&str, &[&str]); 4] = [
    ("clap", &["ruleward", "ruleward-policy"]),
    ("ruleward", &[]),
    ("ruleward-policy", &[]),
    ("wasmtime", &["ruleward-sandbox"]),
];
/// What only authors need: the program that runs as root has it in no way.
const FOR_AUTHORS: [&str; 3] = ["ruleward-author", "similar", "wat"];

/// Each crate of the host with its dependencies.
type Crates = BTreeMap<String, Vec<String>>;

/// What does not hold.
pub fn check(root: &Path, violations: &mut Vec<String>) -> Result<()> {
    let crates = read(root)?;
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| PAGE.to_owned())?;
    if page != with_graph(&page, &crates) {
        violations.push(format!("{PAGE}: the crates are not as it shows them; run cargo xtask generate"));
    }
    for (name, needs) in &crates {
        let forbidden = |(heavy, owners): &&(&str, &[&str])| {
            !owners.contains(&name.as_str()) && needs.iter().any(|one| one == heavy)
        };
        for (heavy, owners) in ALONE.iter().filter(forbidden) {
            let owners = if owners.is_empty() { "no other crate".to_owned() } else { owners.join(" and ") + " alone" };
            violations.push(format!("{name}: depends on {heavy}, which is for {owners}"));
        }
    }
    if let Some(needs) = crates.get("ruleward-core").map(|needs| own(needs)).filter(|needs| !needs.is_empty()) {
        violations.push(format!("ruleward-core: depends on {}, and it is below all", needs.join(", ")));
    }
    for name in for_authors(&tree(root)?) {
        violations
            .push(format!("ruleward: is built with {name}, which only authors need; `cargo tree` says by which way"));
    }
    Ok(())
}

/// Writes the crates into the page.
pub fn generate(root: &Path) -> Result<()> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| PAGE.to_owned())?;
    Ok(fs::write(root.join(PAGE), with_graph(&page, &read(root)?))?)
}

/// Everything that the daemon is built with, a package a line.
fn tree(root: &Path) -> Result<String> {
    let arguments = ["tree", "--offline", "--package", "ruleward", "--edges", "normal", "--prefix", "none"];
    Run::new(workspace::cargo()).args(arguments).within(root).text()
}

fn for_authors(tree: &str) -> Vec<&'static str> {
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    FOR_AUTHORS.into_iter().filter(|name| names.contains(name)).collect()
}

fn own(needs: &[String]) -> Vec<&str> {
    needs.iter().map(String::as_str).filter(|name| name.starts_with("ruleward")).collect()
}

fn with_graph(page: &str, crates: &Crates) -> String {
    let Some((before, rest)) = page.split_once(BEGIN) else { return String::new() };
    let Some((_, after)) = rest.split_once(END) else { return String::new() };
    let row = |(name, needs): (&String, &Vec<String>)| {
        let needs: Vec<String> = own(needs).into_iter().map(|name| format!("`{name}`")).collect();
        format!("| `{name}` | {} |\n", if needs.is_empty() { "none".to_owned() } else { needs.join(", ") })
    };
    let rows: String = crates.iter().map(row).collect();
    format!("{before}{BEGIN}| crate | knows |\n|---|---|\n{rows}{END}{after}")
}

/// As cargo has them; what only tests or a feature need is left out.
fn read(root: &Path) -> Result<Crates> {
    let mut crates = Crates::new();
    for package in workspace::packages()? {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let Some(name) = package["name"].as_str().filter(|_| Path::new(manifest).starts_with(root.join("host"))) else {
            continue;
        };
        let always = |one: &&Value| one["kind"].is_null() && one["optional"] == false;
        let needs = package["dependencies"].as_array().into_iter().flatten().filter(always);
        let needs: BTreeSet<String> = needs.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect();
        crates.insert(name.to_owned(), needs.into_iter().collect());
    }
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_authors_need_is_found_however_it_comes() {
        let tree = "ruleward v0.1.0 (/x)\nwat v1.2.3\nwatch v0.1.0\nruleward-core v0.1.0 (/x) (*)\n";
        assert_eq!(for_authors(tree), ["wat"]);
    }

    #[test]
    fn the_graph_stands_between_its_marks() {
        let crates: Crates = [
            ("ruleward".to_owned(), vec!["anyhow".to_owned(), "ruleward-core".to_owned()]),
            ("ruleward-core".to_owned(), vec!["serde".to_owned()]),
        ]
        .into();
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        let written = with_graph(&page, &crates);
        let rows = "| crate | knows |\n|---|---|\n| `ruleward` | `ruleward-core` |\n| `ruleward-core` | none |\n";
        assert_eq!(written, format!("a\n{BEGIN}{rows}{END}\nb\n"));
        assert_eq!(with_graph(&written, &crates), written);
    }
}
