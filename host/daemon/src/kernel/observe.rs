//! Reads what the kernel has: each table in scope, both families side by side, and the sets if any policy may own some.
//! A picture that somebody changed while it was taken is taken again.

use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Table};
use ruleward_core::observed::{Observed, ObservedTable, SaveError};
use ruleward_core::sets::{self, ListError};
use thiserror::Error;

use super::port::Port;
use super::process::ToolError;

/// Why the kernel could not be read. Nothing may be concluded, and nothing is written.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// What it printed is not understood.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// What ipset printed is not understood.
    #[error(transparent)]
    Sets(#[from] ListError),
}

/// A namespace in which somebody writes all the time never holds still: after this many tries the picture is used as
/// it is, without a generation. Plans stay safe with an old picture, they are just less likely to be complete.
const TRIES: usize = 4;

/// Reads everything that `expected` has in scope.
///
/// # Errors
/// [`ObserveError`]
pub fn observe(port: &dyn Port, expected: &Expected) -> Result<Observed, ObserveError> {
    for _ in 1..TRIES {
        let before = port.generation();
        let mut observed = read(port, expected)?;
        if port.generation() == before {
            observed.generation = before;
            return Ok(observed);
        }
    }
    read(port, expected)
}

fn read(port: &dyn Port, expected: &Expected) -> Result<Observed, ObserveError> {
    let places: Vec<(Family, Table)> = expected.tables.keys().copied().collect();
    let read_family = |family: Family| {
        let tables = places.iter().filter(move |(of, _)| *of == family);
        let read_table = |(_, table): &(Family, Table)| {
            let parsed = ObservedTable::parse(*table, port.save(family, *table)?)?;
            Ok::<_, ObserveError>(((family, *table), parsed))
        };
        tables.map(read_table).collect::<Result<Vec<_>, _>>()
    };
    let (ipv4, ipv6) = std::thread::scope(|scope| {
        let other = scope.spawn(|| read_family(Family::Ipv6));
        let own = read_family(Family::Ipv4);
        (own, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut observed = Observed::default();
    observed.tables.extend(ipv4?.into_iter().chain(ipv6?));
    if expected.ownership.any_sets() {
        observed.sets = sets::parse_list(&port.sets()?)?;
    }
    Ok(observed)
}
