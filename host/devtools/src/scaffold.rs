//! A new policy's folder. It begins as the example of its language, so that what an author starts from is what is
//! tested; only names change.

use std::path::Path;

use ruleward_core::names::PolicyName;

use crate::error::AuthorError;
use crate::project::write;

/// Languages that there is a start for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Template {
    /// Rust, with the SDK
    Rust,
    /// C, with zig or clang
    C,
    /// Go
    Go,
    /// JavaScript, with types for TypeScript's checker
    Javascript,
    /// Python
    Python,
}

/// A file of a new folder: its name, and its text.
type Text = (&'static str, &'static str);

macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../../examples/host-firewall-example/", $path))
    };
}

macro_rules! sdk {
    ($($name:literal),+ $(,)?) => {
        &[$((concat!("ruleward-sdk/src/", $name), include_str!(concat!("../../../plugins/sdk/src/", $name)))),+]
    };
}

/// In every folder.
const COMMON: &[Text] = &[
    ("tests/two-ports/settings.toml", example!("cases/two-ports/settings.toml")),
    ("tests/two-ports/expected.rules", example!("cases/two-ports/expected.rules")),
    ("tests/every-address/settings.toml", example!("cases/every-address/settings.toml")),
    ("tests/every-address/expected.rules", example!("cases/every-address/expected.rules")),
    ("ruleward.toml", example!("ruleward.toml")),
];

const RUST: &[Text] = &[
    ("src/lib.rs", example!("rust/src/lib.rs")),
    ("Cargo.toml", include_str!("templates/rust.toml")),
    ("policy.toml", include_str!("templates/rust-policy.toml")),
    ("build.sh", include_str!("templates/rust-build.sh")),
    ("README.md", include_str!("templates/rust.md")),
    (".gitignore", "/.state\n/target\n/*.wasm\n"),
    ("ruleward-sdk/Cargo.toml", include_str!("templates/sdk.toml")),
    ("ruleward-sdk/wit/policy.wit", ruleward_author::WIT),
];

const SDK: &[Text] = sdk![
    "bindings.rs",
    "bump.rs",
    "contribution.rs",
    "description.rs",
    "resources.rs",
    "export.rs",
    "json.rs",
    "lib.rs",
    "log.rs",
    "network.rs",
    "protocol.rs",
    "rule.rs",
    "settings.rs",
    "typed.rs",
];

const C: &[Text] = &[
    ("policy.c", example!("c/policy.c")),
    ("memory.c", example!("c/memory.c")),
    ("settings.c", example!("c/settings.c")),
    ("settings.h", example!("c/settings.h")),
    ("build.sh", example!("c/build.sh")),
    ("policy.toml", example!("c/policy.toml")),
    ("README.md", example!("c/README.md")),
    (".gitignore", example!("c/.gitignore")),
    ("requirements.txt", example!("c/requirements.txt")),
];

const GO: &[Text] = &[
    ("export_wit_world/policy.go", example!("go/export_wit_world/policy.go")),
    ("export_wit_world/settings.schema.json", example!("go/export_wit_world/settings.schema.json")),
    ("policy.toml", example!("go/policy.toml")),
    ("README.md", example!("go/README.md")),
    (".gitignore", example!("go/.gitignore")),
];

const JAVASCRIPT: &[Text] = &[
    ("policy.js", example!("javascript/policy.js")),
    ("package.json", example!("javascript/package.json")),
    ("package-lock.json", example!("javascript/package-lock.json")),
    ("tsconfig.json", example!("javascript/tsconfig.json")),
    ("policy.toml", example!("javascript/policy.toml")),
    ("README.md", example!("javascript/README.md")),
    (".gitignore", example!("javascript/.gitignore")),
];

const PYTHON: &[Text] = &[
    ("policy.py", example!("python/policy.py")),
    ("requirements.txt", example!("python/requirements.txt")),
    ("policy.toml", example!("python/policy.toml")),
    ("README.md", example!("python/README.md")),
    (".gitignore", example!("python/.gitignore")),
];

/// A workflow that tests the policy; `SETUP` is what the language's compiler takes.
const WORKFLOW: &str = include_str!("templates/workflow.yml");

impl Template {
    fn files(self) -> &'static [&'static [Text]] {
        match self {
            Self::Rust => &[RUST, SDK],
            Self::C => &[C],
            Self::Go => &[GO],
            Self::Javascript => &[JAVASCRIPT],
            Self::Python => &[PYTHON],
        }
    }

    /// What the workflow's machine runs before the build.
    fn setup(self) -> &'static str {
        match self {
            Self::Rust => "rustup target add wasm32-unknown-unknown",
            Self::C | Self::Python => {
                "python3 -m venv .venv && .venv/bin/pip install --require-hashes -r requirements.txt \
                 && echo \"$PWD/.venv/bin\" >>\"$GITHUB_PATH\""
            }
            Self::Go => "go version",
            Self::Javascript => "npm ci",
        }
    }
}

/// What the examples are called, and the beginning of their chains' names.
const EXAMPLE: &str = "host-firewall-example";
const EXAMPLE_PREFIX: &str = "hfe";
/// Longest prefix of names: an ipset's name has 31 bytes.
const LONGEST_PREFIX: usize = 12;

/// Makes the folder.
///
/// # Errors
/// [`AuthorError`] when the name can't be a policy's, the folder holds anything, or it can't be written.
pub fn create(template: Template, name: &str, folder: &Path) -> Result<(), AuthorError> {
    PolicyName::new(name).map_err(|error| AuthorError::file(folder, error))?;
    if template == Template::Rust && !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(AuthorError::file(
            folder,
            "begins with no letter, as the name of a crate must; choose another name",
        ));
    }
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(AuthorError::file(folder, "is there already and not empty; choose another name"));
    }
    write(&folder.join(".github/workflows/test.yml"), WORKFLOW.replace("SETUP", template.setup()).as_bytes())?;
    for (file, text) in template.files().iter().copied().chain([COMMON]).flatten() {
        let text = if file.starts_with("ruleward-sdk/") { vendored(text) } else { renamed(text, name) };
        write(&folder.join(file), text.as_bytes())?;
    }
    Ok(())
}

/// The SDK in the author's folder has the contract beside it.
fn vendored(text: &str) -> String {
    text.replace("path: \"../../wit\"", "path: \"wit\"")
}

fn renamed(text: &str, name: &str) -> String {
    let prefix: String = name.chars().take(LONGEST_PREFIX).collect();
    let words = name.split('-').filter(|word| !word.is_empty());
    let camel: String = words.map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    text.replace(EXAMPLE, name)
        .replace(&EXAMPLE.replace('-', "_"), &name.replace('-', "_"))
        .replace("HostFirewallExample", &camel)
        .replace(&format!("{EXAMPLE_PREFIX}-"), &format!("{}-", prefix.trim_end_matches('-')))
        .replace(&format!("{EXAMPLE_PREFIX}:"), &format!("{}:", prefix.trim_end_matches('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_everywhere() {
        for (template, source) in [
            (Template::Rust, "src/lib.rs"),
            (Template::C, "policy.c"),
            (Template::Go, "export_wit_world/policy.go"),
            (Template::Javascript, "policy.js"),
            (Template::Python, "policy.py"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("web-server-guard");
            create(template, "web-server-guard", &folder).unwrap();
            let text = std::fs::read_to_string(folder.join(source)).unwrap();
            assert!(text.contains("web-server-g-input"), "{text}");
            for file in [source, "policy.toml", "README.md", "ruleward.toml", "tests/two-ports/expected.rules"] {
                let text = std::fs::read_to_string(folder.join(file)).unwrap();
                assert!(!text.contains("hfe") && !text.contains("host-firewall-example"), "{file}: {text}");
            }
            assert!(create(template, "web-server-guard", &folder).unwrap_err().to_string().contains("not empty"));
        }
        assert!(create(Template::C, "Bad Name", Path::new("/nonexistent/x")).is_err());
    }

    #[test]
    fn the_vendored_sdk_finds_its_contract() {
        let bindings = SDK.iter().find(|(name, _)| name.ends_with("bindings.rs")).unwrap().1;
        assert!(vendored(bindings).contains("path: \"wit\""));
    }
}
