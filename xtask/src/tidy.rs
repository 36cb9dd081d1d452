//! `cargo xtask tidy`: the house rules that neither rustfmt nor clippy knows. All violations are listed, each with file,
//! line and remedy; one is enough to fail.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{examples, links, walls, workspace};

const LONGEST_FILE: usize = 500;
/// Text that people write; captured output of other programs keeps its form.
const TEXT: [&str; 7] = ["rs", "toml", "md", "wit", "yaml", "yml", "sh"];
/// Folders that hold no work of ours.
const FOREIGN: [&str; 6] = ["target", ".git", ".state", ".venv", "captures", "node_modules"];
/// What stands for work not done. In two pieces, so that this file does not violate its own rule.
const UNFINISHED: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ig", "nore")];

/// Checks everything.
pub fn run() -> Result<()> {
    let root = workspace::root();
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let mut violations = Vec::new();
    for file in &files {
        let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let text = fs::read_to_string(file).with_context(|| format!("{shown} is not text"))?;
        check_text(&shown, &text, &mut violations);
        if shown.ends_with(".rs") {
            check_rust(&shown, &text, &mut violations);
        }
    }
    check_decisions(&root.join("docs/adr"), &mut violations)?;
    check_book(&root.join("docs"), &files, &mut violations)?;
    links::check(root, &files, &mut violations);
    walls::check(root, &mut violations)?;
    violations.extend(examples::check_all()?);
    if !violations.is_empty() {
        bail!("{} violations of the house rules:\n  {}", violations.len(), violations.join("\n  "));
    }
    eprintln!("==> {} files and the example configurations keep the house rules", files.len());
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if !FOREIGN.iter().any(|foreign| name == *foreign) && !name.to_string_lossy().starts_with("target") {
                walk(&entry.path(), files)?;
            }
        } else if entry.path().extension().is_some_and(|end| TEXT.iter().any(|text| end == *text)) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn check_text(file: &str, text: &str, violations: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            violations.push(format!("{file}:{}: white space at the end of the line", number + 1));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        violations.push(format!("{file}: the last line has no end"));
    }
}

fn check_rust(file: &str, text: &str, violations: &mut Vec<String>) {
    let length = text.lines().count();
    if length > LONGEST_FILE {
        violations
            .push(format!("{file}: {length} lines; at most {LONGEST_FILE}: which ideas can be files of their own?"));
    }
    if !text.starts_with("//! ") {
        violations.push(format!("{file}: begins with no `//!` comment that says what the file is for"));
    }
    for (number, line) in text.lines().enumerate() {
        for mark in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
            violations.push(format!("{file}:{}: `{mark}` is unfinished work; finish it or leave it out", number + 1));
        }
    }
}

/// Every decision is in the index, and the index names no other.
fn check_decisions(folder: &Path, violations: &mut Vec<String>) -> Result<()> {
    let index_file = folder.join("README.md");
    let index = fs::read_to_string(&index_file).with_context(|| format!("cannot read {}", index_file.display()))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "README.md" && name.ends_with(".md") {
            names.push(name);
        }
    }
    names.sort();
    for name in &names {
        if !index.contains(&format!("]({name})")) {
            violations.push(format!("docs/adr/README.md: does not list {name}"));
        }
    }
    let links = index.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| link.ends_with(".md") && !link.contains('/')) {
        if !names.iter().any(|name| name == link) {
            violations.push(format!("docs/adr/README.md: lists {link}, which does not exist"));
        }
    }
    Ok(())
}

/// Every page is in the book.
fn check_book(folder: &Path, files: &[PathBuf], violations: &mut Vec<String>) -> Result<()> {
    let summary_file = folder.join("SUMMARY.md");
    let summary =
        fs::read_to_string(&summary_file).with_context(|| format!("cannot read {}", summary_file.display()))?;
    for page in files.iter().filter_map(|file| file.strip_prefix(folder).ok()) {
        let page = page.display().to_string();
        if page.ends_with(".md") && page != "SUMMARY.md" && !summary.contains(&format!("]({page})")) {
            violations.push(format!("docs/SUMMARY.md: does not list {page}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations_of(text: &str) -> Vec<String> {
        let mut violations = Vec::new();
        check_text("a.rs", text, &mut violations);
        check_rust("a.rs", text, &mut violations);
        violations
    }

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(violations_of("//! What it is for.\nfn main() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_seen() {
        assert!(violations_of("fn main() {}\n")[0].contains("`//!`"));
        assert!(violations_of("//! x\nfn main() {} \n")[0].starts_with("a.rs:2: white space"));
        assert!(violations_of("//! x")[0].contains("no end"));
        assert!(violations_of(&format!("//! x\n{})\n", UNFINISHED[0]))[0].starts_with("a.rs:2: `todo"));
        assert!(violations_of(&"//! x\n".repeat(LONGEST_FILE + 1))[0].contains("501 lines"));
    }
}
