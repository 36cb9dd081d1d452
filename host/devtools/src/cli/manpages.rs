//! `completions` and `man`: made from the definition of the command line, so that they say what the
//! program does.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use ruleward_report::output::Output;

use super::Arguments;

/// `ruleward` has a page of its own for `ruleward policy`, whose name is the name of this program.
/// So the page about this program is in another section of the manual.
const SECTION: &str = "1dev";

/// Prints the completions for a shell; gives the exit code.
pub fn completions(shell: Shell) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ruleward-policy", &mut text);
    let _ = io::stdout().lock().write_all(&text); // nobody reads it
    0
}

/// Writes a page for each command into a folder; gives the exit code.
pub fn man(folder: &Path, output: Output) -> u8 {
    match fs::create_dir_all(folder).and_then(|()| write_pages(folder)) {
        Ok(()) => 0,
        Err(error) => {
            output.complain(&format!("ruleward-policy: {}: {error}\n", folder.display()));
            75
        }
    }
}

fn write_pages(folder: &Path) -> io::Result<()> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        Man::new(command.clone()).generate_to(folder)?;
    }
    Man::new(program).section(SECTION).generate_to(folder)?;
    // As it is typed, and as the page of `ruleward` names it.
    fs::write(folder.join("ruleward-dev.1"), ".so man1/ruleward-policy-dev.1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write_pages(folder.path()).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = format!("ruleward-policy-{}.1", command.get_name());
            assert!(names.contains(&name), "{name} is missing: {names:?}");
        }
        for other in ["ruleward-policy.1dev", "ruleward-dev.1"] {
            assert!(names.contains(&other.to_owned()), "{names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("compile") || name.contains("help")), "{names:?}");
        let page = fs::read_to_string(folder.path().join("ruleward-policy-new.1")).unwrap();
        assert!(page.contains("javascript") && page.contains("ruleward\\-policy\\-new"), "{page}");
    }

    #[test]
    fn each_shell_is_served() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "ruleward-policy", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("conform") && text.contains("rehearse"), "{shell}: {text}");
        }
    }
}
