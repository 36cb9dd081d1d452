//! The command line: what the arguments mean, and what each command exits with. One file for each
//! command that says more than one line.
//!
//! What was asked for goes to the standard output, as text or as JSON; everything else goes to the
//! standard error output.

mod bench;
mod conform;
mod dev;
#[cfg(test)]
mod documented;
mod inspect;
mod manpages;
mod run;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ruleward_core::names::PolicyName;
use ruleward_kernel::verdict;
use ruleward_report::ErrorClass;
use ruleward_report::output::{self, Output};
use ruleward_sandbox::compile::{self, CompileLimits};

use crate::case::CaseFiles;
use crate::component::load;
use crate::error::AuthorError;
use crate::node::Node;
use crate::project::{self, BindingsLanguage, FILE, Project};
use crate::scaffold::{self, Template};
use crate::warnings;

/// Exit code for arguments that make no sense.
const USAGE: u8 = 64;
/// Exit code for a component, a file or a build that is refused.
const REFUSED: u8 = 78;
/// Exit code for tests that failed.
const FAILED: u8 = 1;

/// Makes, builds, tests and measures policies for Ruleward.
#[derive(Debug, Parser)]
#[command(
    name = "ruleward-policy",
    version,
    after_help = "`ruleward policy COMMAND` and `ruleward dev` start this program. Exit codes: 0 done, 1 a test or a \
                  check failed, 64 usage, 70 internal fault, 75 a file can't be written (try again), 78 a component, a \
                  file or a build is refused"
)]
struct Arguments {
    /// Configuration of the daemon on this node, for `dev --live` [default: where `ruleward` looks for it]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print what was asked for
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object; for dev one a line.
    Json,
}

impl From<Format> for output::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Command {
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
    /// Build, test and rehearse the policy in a folder, again whenever a source changes
    Dev {
        /// A folder with policy.toml
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Put each good version in force on this node, as the component of this policy of its configuration
        #[arg(long, value_name = "POLICY", value_parser = name)]
        live: Option<PolicyName>,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual, a page for each command, into a folder
    Man {
        /// The folder; it is made if need be
        folder: PathBuf,
    },
    /// Try an answer out in a private namespace: a question on standard input, a verdict on standard output
    #[command(hide = true, name = verdict::COMMAND)]
    Rehearse,
    /// Compile a component, within limits
    #[command(hide = true)]
    Compile {
        /// Address space, bytes
        memory: u64,
        /// Processor time, seconds
        seconds: u64,
        /// The component
        input: PathBuf,
        /// Where the compiled one goes
        #[arg(value_name = "OUTPUT")]
        compiled: PathBuf,
    },
}

/// What a policy is evaluated on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CaseArguments {
    /// A folder with settings.toml, resources.yaml (or resources/) and facts.toml, each if it is needed
    #[arg(long, value_name = "FOLDER")]
    case: Option<PathBuf>,
    /// Settings, in TOML or JSON
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Resources, in YAML or JSON: a file, or a folder of files
    #[arg(long = "resources", value_name = "PATH")]
    resources: Option<PathBuf>,
    /// The node, in TOML: node-name, kernel, iptables, backend, families, interfaces, grants
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

impl CaseArguments {
    fn files(&self) -> CaseFiles {
        let own =
            CaseFiles { settings: self.settings.clone(), resources: self.resources.clone(), facts: self.facts.clone() };
        own.or(self.case.as_deref().map(CaseFiles::in_folder).unwrap_or_default())
    }
}

/// The whole program: takes the arguments, the program's name first, and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // nobody reads it
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    warnings::show();
    ExitCode::from(execute(&arguments))
}

/// Does what was asked, and gives the exit code.
fn execute(arguments: &Arguments) -> u8 {
    let output = Output::new(arguments.output.into());
    let result = match &arguments.command {
        Command::New { lang, name } => new(*lang, name, output),
        Command::Build { from, out } => build(from, out.as_deref(), output),
        Command::Bindings { lang, folder } => project::write_bindings((*lang).into(), folder).map(|()| 0),
        Command::Inspect { component } => inspect::show(component, output),
        Command::Schema { component } => schema(component, output),
        Command::Run { policy, rehearse, case } => run::once(policy, &case.files(), *rehearse, output),
        Command::Test { policy, cases, rehearse, update } => {
            test::all(policy, cases.as_deref(), (*rehearse, *update), output)
        }
        Command::Conform { policy, cases, case } => conform::judge(policy, cases.as_deref(), case, output),
        Command::Bench { policy, runs, case } => bench::measure(policy, *runs, &case.files(), output),
        Command::Dev { folder, live } => {
            let node = Node { config: arguments.config.as_ref(), output };
            dev::run(folder, live.as_ref().map(|policy| (&node, policy)), output)
        }
        Command::Completions { shell } => Ok(manpages::completions(*shell)),
        Command::Man { folder } => Ok(manpages::man(folder, output)),
        Command::Rehearse => Ok(child(verdict::child_main(), |_| ErrorClass::Internal.exit_code(), output)),
        Command::Compile { memory, seconds, input, compiled } => {
            let limits = CompileLimits { memory: *memory, seconds: *seconds };
            Ok(child(compile::child_main(limits, input, compiled), |error| error.exit_code(), output))
        }
    };
    result.unwrap_or_else(|error| {
        output.complain(&format!("ruleward-policy: {error}\n"));
        REFUSED
    })
}

/// Of a child of this program: who started it reads the status and the complaint.
fn child<E: std::fmt::Display>(result: Result<(), E>, code: impl FnOnce(&E) -> u8, output: Output) -> u8 {
    result.map_or_else(
        |error| {
            output.complain(&format!("{error}\n"));
            code(&error)
        },
        |()| 0,
    )
}

/// A policy's name on the command line.
fn name(text: &str) -> Result<PolicyName, String> {
    PolicyName::new(text).map_err(|error| error.to_string())
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_count_before_and_after_the_command() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap();
        let before = parse("ruleward-policy --config x.toml --output json dev .");
        let after = parse("ruleward-policy dev . --config x.toml --output json");
        for arguments in [before, after] {
            assert_eq!((arguments.config, arguments.output), (Some(PathBuf::from("x.toml")), Format::Json));
            assert_eq!(arguments.command, Command::Dev { folder: ".".into(), live: None });
        }
    }
}
