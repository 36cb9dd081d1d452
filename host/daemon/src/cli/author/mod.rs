//! `policy ...` for authors: no root, no configuration, no kernel. One file for each command that says more than one line.

mod bench;
mod conform;
mod inspect;
mod run;
mod test;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::output::Output;
use crate::author::case::CaseFiles;
use crate::author::project::{self, BindingsLanguage, FILE, Project};
use crate::author::scaffold::{self, Template};
use crate::author::{AuthorError, load};

/// Exit code for a component, a file or a build that is refused.
pub const REFUSED: u8 = 78;
/// Exit code for tests that failed.
const FAILED: u8 = 1;

/// What authors can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuthorCommand {
    /// Make a folder with a policy that builds and tests
    New {
        /// The language
        #[arg(long, value_enum)]
        lang: Template,
        /// Name of the policy and of the folder: lower-case letters, digits and hyphens
        name: String,
    },
    /// Build the policy of a folder, or make a component of a compiled module
    Build {
        /// A folder with policy.toml, or a core WebAssembly module
        #[arg(default_value = ".")]
        from: PathBuf,
        /// Where the component of a module goes [default: MODULE.component.wasm]
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the contract in the words of a language
    Bindings {
        /// The language
        #[arg(long, value_enum)]
        lang: BindingsLanguage,
        /// Into this folder
        #[arg(default_value = "bindings")]
        folder: PathBuf,
    },
    /// Show what a component is: version, what it wants, imports, size
    Inspect {
        /// The component
        component: PathBuf,
    },
    /// Print the JSON Schema of a policy's settings
    Schema {
        /// The component
        component: PathBuf,
    },
    /// Evaluate once, and print the rules that the policy asks for
    Run {
        /// The component, or a folder with policy.toml, which is built
        #[arg(default_value = ".")]
        policy: PathBuf,
        /// Print what the kernel makes of the rules, in a private namespace
        #[arg(long)]
        rehearse: bool,
        #[command(flatten)]
        case: CaseArguments,
    },
    /// Build, run every case in tests/, and compare the rules with expected.rules
    Test {
        /// A folder with policy.toml, or a component
        #[arg(default_value = ".")]
        policy: PathBuf,
        /// Where the cases are [default: tests in the folder]
        #[arg(long, value_name = "FOLDER")]
        cases: Option<PathBuf>,
        /// Have the kernel judge the rules too, in a private namespace
        #[arg(long)]
        rehearse: bool,
        /// Write what comes out as what is expected
        #[arg(long)]
        update: bool,
    },
    /// Judge whether a component keeps to the contract in everything that can be seen from outside (exit 1 if not)
    Conform {
        /// The component, or a folder with policy.toml, which is built
        #[arg(default_value = ".")]
        policy: PathBuf,
        /// A folder of cases, as `test` takes them; without any case its schema says what settings it needs
        #[arg(long, value_name = "FOLDER")]
        cases: Option<PathBuf>,
        #[command(flatten)]
        case: CaseArguments,
    },
    /// Measure: compile, load, evaluate
    Bench {
        /// The component, or a folder with policy.toml, which is built
        #[arg(default_value = ".")]
        policy: PathBuf,
        /// Evaluations
        #[arg(long, default_value_t = 100, value_name = "N")]
        runs: u32,
        #[command(flatten)]
        case: CaseArguments,
    },
}

/// What a policy is evaluated on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CaseArguments {
    /// A folder with settings.toml, documents.yaml (or documents/) and facts.toml, each if it is needed
    #[arg(long, value_name = "FOLDER")]
    case: Option<PathBuf>,
    /// Settings, in TOML or JSON
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Documents, in YAML or JSON: a file, or a folder of files
    #[arg(long, value_name = "PATH")]
    documents: Option<PathBuf>,
    /// The node, in TOML: node-name, kernel, iptables, backend, families, interfaces, grants
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

impl CaseArguments {
    fn files(&self) -> CaseFiles {
        let own =
            CaseFiles { settings: self.settings.clone(), documents: self.documents.clone(), facts: self.facts.clone() };
        own.or(self.case.as_deref().map(CaseFiles::in_folder).unwrap_or_default())
    }
}

/// Does what was asked, and gives the exit code.
pub fn execute(command: &AuthorCommand, output: Output) -> u8 {
    let result = match command {
        AuthorCommand::New { lang, name } => new(*lang, name, output),
        AuthorCommand::Build { from, out } => build(from, out.as_deref(), output),
        AuthorCommand::Bindings { lang, folder } => project::write_bindings((*lang).into(), folder).map(|()| 0),
        AuthorCommand::Inspect { component } => inspect::show(component, output),
        AuthorCommand::Schema { component } => schema(component, output),
        AuthorCommand::Run { policy, rehearse, case } => run::once(policy, &case.files(), *rehearse, output),
        AuthorCommand::Test { policy, cases, rehearse, update } => {
            test::all(policy, cases.as_deref(), (*rehearse, *update), output)
        }
        AuthorCommand::Conform { policy, cases, case } => conform::judge(policy, cases.as_deref(), case, output),
        AuthorCommand::Bench { policy, runs, case } => bench::measure(policy, *runs, &case.files(), output),
    };
    result.unwrap_or_else(|error| {
        output.complain(&format!("ruleward: {error}\n"));
        REFUSED
    })
}

fn new(template: Template, name: &str, output: Output) -> Result<u8, AuthorError> {
    let folder = Path::new(name);
    scaffold::create(template, name, folder)?;
    output.complain(&format!("{name}/ is there; its README.md has the commands from here to a live rule\n"));
    Ok(0)
}

fn build(from: &Path, out: Option<&Path>, output: Output) -> Result<u8, AuthorError> {
    let component = if from.is_dir() {
        Project::read(from)?.build(from)?
    } else {
        let component = out.map_or_else(|| from.with_extension("component.wasm"), Path::to_owned);
        project::encode(from, &component)?;
        component
    };
    let bytes = std::fs::metadata(&component).map_or(0, |file| file.len());
    output.complain(&format!("{} ({} KB)\n", component.display(), bytes.div_ceil(1000)));
    Ok(0)
}

fn schema(component: &Path, output: Output) -> Result<u8, AuthorError> {
    let policy = load(component)?;
    let schema = &policy.description().settings_schema;
    // It was read as JSON when the policy was loaded.
    let value: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    output.print(&value, |_| serde_json::to_string_pretty(&value).unwrap_or_default() + "\n");
    Ok(0)
}

/// The component itself, or the one that a folder's build makes.
fn component_of(policy: &Path) -> Result<PathBuf, AuthorError> {
    if !policy.is_dir() {
        return Ok(policy.to_owned());
    }
    if policy == Path::new(".") && !policy.join(FILE).exists() {
        return Err(AuthorError::file(&policy.join(FILE), "is not there; name a component or a policy's folder"));
    }
    Project::read(policy)?.build(policy)
}
