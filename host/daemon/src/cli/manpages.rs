//! `completions` and `man`: made from the definition of the command line, so that they say what the
//! program does.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;

use super::{authors, command};
use ruleward_report::output::Output;

/// Prints the completions for a shell; gives the exit code.
pub fn completions(shell: Shell) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "ruleward", &mut text);
    let _ = io::stdout().lock().write_all(&text); // nobody reads it
    0
}

/// Writes a page for each command into a folder; gives the exit code.
pub fn man(folder: &Path, output: Output) -> u8 {
    match fs::create_dir_all(folder).and_then(|()| write_pages(folder)) {
        Ok(()) => 0,
        Err(error) => {
            output.complain(&format!("error: {}: {error}\n", folder.display()));
            75
        }
    }
}

fn write_pages(folder: &Path) -> io::Result<()> {
    let mut program = command().disable_help_subcommand(true);
    program.build();
    write_page(&program, folder)
}

/// Of a command and those below it. Commands for authors have theirs from the program that does
/// them.
fn write_page(command: &clap::Command, folder: &Path) -> io::Result<()> {
    let theirs = |command: &clap::Command| command.get_display_name().is_some_and(authors::is_theirs);
    for command in command.get_subcommands().filter(|command| !command.is_hide_set() && !theirs(command)) {
        write_page(command, folder)?;
    }
    Man::new(command.clone()).generate_to(folder)?;
    Ok(())
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
        let shown = |command: &&clap::Command| !command.is_hide_set() && command.get_name() != "dev";
        for command in command().get_subcommands().filter(shown) {
            let name = format!("ruleward-{}.1", command.get_name());
            assert!(names.contains(&name), "{name} is missing: {names:?}");
        }
        assert!(names.contains(&"ruleward-policy-rollback.1".to_owned()), "{names:?}");
        let others = ["compile", "help", "locate", "policy-new", "dev"];
        assert!(!names.iter().any(|name| others.iter().any(|other| name.contains(other))), "{names:?}");
        let page = fs::read_to_string(folder.path().join("ruleward-policy.1")).unwrap();
        assert!(page.contains("ruleward\\-policy\\-new(1)") && page.contains("ruleward\\-dev"), "{page}");
        let page = fs::read_to_string(folder.path().join("ruleward-log.1")).unwrap();
        assert!(page.contains("debug") && page.contains("ruleward\\-log"), "{page}");
    }

    #[test]
    fn each_shell_is_served() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command(), "ruleward", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(
                text.contains("incidents") && text.contains("rollback") && text.contains("conform"),
                "{shell}: {text}"
            );
        }
    }
}
