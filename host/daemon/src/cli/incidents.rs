//! `incidents`: the journal for people and programs, with the daemon running or not.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use ruleward_report::output::Output;
use ruleward_report::text::{self, Style};
use ruleward_report::{ErrorClass, Incident, Report, incident_text};
use ruleward_state::journal::follow::Follower;
use ruleward_state::journal::read::{self, Loaded, ReadError};

/// How many are shown before the new ones, unless told.
const SHOWN_BEFORE: usize = 10;

/// Shows the last incidents, in the state that the running daemon has for them (`newest`), and with `follow` the new ones until the reader goes away; gives the exit code.
pub fn show(directory: &Path, (follow, last): (bool, Option<usize>), newest: Vec<Incident>, output: Output) -> u8 {
    let result = if follow {
        self::follow(directory, last.unwrap_or(SHOWN_BEFORE), output)
    } else {
        read::load(directory).map(|mut loaded| {
            loaded.update(newest);
            if loaded.incidents.is_empty() {
                output.complain("ruleward: no incidents so far\n");
            }
            let _ = print(&loaded, last.unwrap_or(usize::MAX), output); // whoever reads it has had enough
        })
    };
    let Err(error) = result else { return 0 };
    complain(output, error.to_string());
    error.exit_code()
}

fn follow(directory: &Path, last: usize, output: Output) -> Result<(), ReadError> {
    let (mut follower, loaded) = Follower::open(directory)?;
    if print(&loaded, last, output).is_err() {
        return Ok(());
    }
    loop {
        let new = follower.next()?;
        damaged(new.damaged, output);
        for incident in &new.incidents {
            if stream(incident, output).is_err() {
                return Ok(());
            }
        }
        if new.incidents.is_empty() && !follower.wait(io::stdout().as_fd())? {
            return Ok(());
        }
    }
}

fn print(loaded: &Loaded, last: usize, output: Output) -> io::Result<()> {
    damaged(loaded.damaged, output);
    let skipped = loaded.incidents.len().saturating_sub(last);
    loaded.incidents[skipped..].iter().try_for_each(|incident| stream(incident, output))
}

fn stream(incident: &Incident, output: Output) -> io::Result<()> {
    output.stream(incident, |style: Style| incident_text::block(incident, style))
}

fn damaged(lines: u64, output: Output) {
    if lines > 0 {
        complain(output, format!("{lines} lines of the journal are damaged and left out (a crash may leave one)"));
    }
}

fn complain(output: Output, problem: String) {
    output.complain(&text::problems(&Report::failure(ErrorClass::Temporary, problem)));
}
