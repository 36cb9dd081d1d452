//! Links between pages: the file is there, and so is the heading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Checks the links of these pages.
pub fn check(root: &Path, files: &[PathBuf], violations: &mut Vec<String>) {
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "md")) {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap_or(root).join(path) };
            if let Some(why) = dead_in_book(&root.join("docs"), file, path) {
                violations.push(format!("{shown}: links to {path}, which {why}"));
            } else if !target.exists() {
                violations.push(format!("{shown}: links to {path}, which does not exist"));
            } else if let Some(heading) = heading.filter(|_| target.extension().is_some_and(|end| end == "md")) {
                let page = fs::read_to_string(&target).unwrap_or_default();
                if !headings(&page).contains(heading) {
                    violations.push(format!("{shown}: links to {link}, and there is no such heading"));
                }
            }
        }
    }
}

/// Why a link that is good in the repository is dead in the rendered book, which has the pages and files of docs/ alone.
fn dead_in_book(book: &Path, page: &Path, link: &str) -> Option<&'static str> {
    let folder = page.strip_prefix(book).ok()?.parent()?;
    let mut depth = folder.components().count();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir if depth == 0 => return Some("is not in the book; name its path as text"),
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    let is_folder = !link.is_empty() && page.with_file_name(link).is_dir();
    is_folder.then_some("is a folder, and no page of the book")
}

/// Lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence && !line.starts_with("    ")
    })
}

/// Where links lead; what stands between backticks is none.
fn links(text: &str) -> Vec<&str> {
    prose(text).flat_map(of_line).collect()
}

fn of_line(line: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), line);
    while let Some(at) = rest.find("](") {
        let ticks = line[..line.len() - rest.len() + at].matches('`').count();
        rest = &rest[at + 2..];
        let Some(end) = rest.find(')') else { break };
        if ticks.is_multiple_of(2) {
            found.push(&rest[..end]);
        }
    }
    found
}

/// The anchors that a page gets from its headings.
fn headings(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| -> String {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let of = |line: &str| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len() && heading.starts_with(' ')).then(|| anchor(heading))
    };
    prose(text).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_no_links_and_headings_have_anchors() {
        let text = "# A `b` c, d\n[x](one.md#y) and `[z](two.md)` ![p](p.png)\n```toml\n# no heading\n[a](b)\n```\n";
        assert_eq!(links(text), ["one.md#y", "p.png"]);
        assert_eq!(headings(text), BTreeSet::from(["a-b-c-d".to_owned()]));
    }

    #[test]
    fn dead_links_are_found() {
        let folder = std::env::temp_dir().join(format!("ruleward-links-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let page = folder.join("a.md");
        fs::write(&page, "## Here\n[1](a.md#here) [2](#here) [3](#there) [4](b.md) [5](https://b.example/)\n").unwrap();
        let mut violations = Vec::new();
        check(&folder, &[page], &mut violations);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            violations,
            ["a.md: links to #there, and there is no such heading", "a.md: links to b.md, which does not exist"]
        );
    }

    #[test]
    fn links_out_of_the_book_are_found() {
        let root = std::env::temp_dir().join(format!("ruleward-book-{}", std::process::id()));
        fs::create_dir_all(root.join("docs/adr")).unwrap();
        fs::write(root.join("wit"), "").unwrap();
        let page = |name: &str, text: &str| {
            fs::write(root.join(name), text).unwrap();
            root.join(name)
        };
        let pages = [
            page("README.md", "[good](docs/a.md) [good](docs/adr)\n"),
            page("docs/a.md", "[good](adr/b.md#b) [good](a.md) [folder](adr) [out](../wit)\n"),
            page("docs/adr/b.md", "# B\n[good](../a.md) [good](#b) [out](../../wit)\n"),
        ];
        let mut violations = Vec::new();
        check(&root, &pages, &mut violations);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            violations,
            [
                "docs/a.md: links to adr, which is a folder, and no page of the book",
                "docs/a.md: links to ../wit, which is not in the book; name its path as text",
                "docs/adr/b.md: links to ../../wit, which is not in the book; name its path as text",
            ]
        );
    }
}
