//! `policy replay` and `policy export`: an answer again from its inputs, here or elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::problem::{Problem, failed};
use crate::cli::commands::state_directory;
use crate::replay::{self, FirstDifference, Replay, Side};
use ruleward_report::output::Output;
use ruleward_report::plain::plain;
use ruleward_report::text::Style;
use ruleward_sandbox::{ComponentBytes, PolicyEngine, PolicyEngineOptions, components};
use ruleward_state::history::format::{self, Parts, Portable};
use ruleward_state::history::record::{Record, RecordName};
use ruleward_state::history::store::Store;

/// Exit code for another answer than the recorded one.
const DIFFERENT: u8 = 2;

/// Replays a record of this node, or one in a file; gives the exit code.
pub fn replay(config: &Path, record: &Path, output: Output) -> u8 {
    match try_replay(config, record, output) {
        Ok(replay) => {
            output.print(&replay, |style| text(&replay, style));
            if replay.identical { 0 } else { DIFFERENT }
        }
        Err(problem) => failed(&problem, output),
    }
}

fn try_replay(config: &Path, record: &Path, output: Output) -> Result<Replay, Problem> {
    let name = record.to_str().and_then(|text| RecordName::from_str(text).ok()).filter(|_| !record.exists());
    let state = state_directory(config, output);
    let portable = match name {
        Some(name) => load(&state?, &name)?,
        None => read(record)?,
    };
    let state = state_directory(config, output).unwrap_or_default();
    let Portable { record: recorded, component } = portable;
    let component = component.map(ComponentBytes::from).ok_or_else(|| Problem::Format {
        path: record.to_owned(),
        problem: format::FormatError::Lacks("component; `ruleward policy export` writes a record with its component"),
    })?;
    // Compiled code is kept where this user's daemon keeps it; elsewhere it is for once.
    let scratch = tempfile::tempdir().map_err(|error| Problem::File { path: std::env::temp_dir(), error })?;
    let place = if state.is_dir() { state } else { scratch.path().to_owned() };
    let engine =
        PolicyEngine::new(PolicyEngineOptions::new(place)).map_err(|error| Problem::Other(error.to_string()))?;
    replay::replay(&engine, &recorded, &component)
        .map_err(|reason| Problem::Other(format!("{} can't be replayed: {reason}", recorded.header.name())))
}

/// Writes a record with its component to a file; gives the exit code.
pub fn export(config: &Path, record: &RecordName, file: &Path, output: Output) -> u8 {
    let loaded = state_directory(config, output).map_err(Problem::from).and_then(|state| load(&state, record));
    let written = loaded.and_then(|portable| {
        let Portable { record: Record { header, settings, facts, contribution }, component } = &portable;
        let parts = Parts::new(settings, facts.as_ref(), contribution.as_ref());
        let bytes = parts.map_err(Into::into).and_then(|parts| format::encode(header, &parts, component.as_deref()));
        let bytes = bytes.map_err(|error| Problem::Other(format!("{record} can't be written as JSON: {error}")))?;
        std::fs::write(file, &bytes).map_err(|error| Problem::File { path: file.to_owned(), error })?;
        Ok(bytes.len())
    });
    match written {
        Ok(bytes) => {
            let done = serde_json::json!({ "record": record.to_string(), "file": file, "bytes": bytes });
            output.print(&done, |_| format!("{record} is in {} ({bytes} bytes)\n", file.display()));
            0
        }
        Err(problem) => failed(&problem, output),
    }
}

fn load(state_directory: &Path, name: &RecordName) -> Result<Portable, Problem> {
    let record = Store::new(state_directory).read(name)?;
    let component = components::load(state_directory, &record.header.component);
    let component =
        component.map_err(|error| Problem::Other(format!("the component of {name} can't be loaded: {error}")))?;
    Ok(Portable { record, component: Some(component.bytes) })
}

fn read(path: &Path) -> Result<Portable, Problem> {
    let path: PathBuf = path.to_owned();
    let file = File::open(&path).map_err(|error| Problem::File { path: path.clone(), error })?;
    format::decode(file).map_err(|problem| Problem::Format { path, problem })
}

fn text(replay: &Replay, style: Style) -> String {
    let side = |side: &Side| match side {
        Side::Contribution(digest) => format!("answer {digest}"),
        Side::Refused(reason) => format!("no answer: {}", plain(reason)),
    };
    if replay.identical {
        return format!("{} {}; {}\n", replay.record, style.good("identical"), side(&replay.replayed));
    }
    let mut text = format!(
        "{} {}\n  recorded: {}\n  replayed: {}\n",
        replay.record,
        style.bad("DIFFERENT"),
        side(&replay.recorded),
        side(&replay.replayed)
    );
    if let Some(FirstDifference { at, recorded, replayed }) = &replay.first_difference {
        let shown = |value: &Option<String>| plain(value.as_deref().unwrap_or("nothing"));
        text.push_str(&format!("  first at {}: {} became {}\n", plain(at), shown(recorded), shown(replayed)));
    }
    text
}
