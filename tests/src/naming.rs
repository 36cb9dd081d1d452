//! What may be expected of the name of who did something.

use crate::{Actor, Backend, Incident, sandbox};

/// So often somebody is given the chance to be looked at while it is there.
const TRIES: usize = 8;

/// Whether the daemon can tell who did something: on legacy the lock file tells it to the machine's own root alone.
pub fn can_be_told(backend: Backend) -> bool {
    backend == Backend::Nft || sandbox::is_real_root()
}

/// Has the same done again until who did it is named; that incident. nf_tables sends the name itself, so the first time must do.
/// On legacy `/proc` is asked, and of a process that has ended by then there is a pid and no name, or not even that where a
/// check has found the damage first.
#[track_caller]
pub fn until_named(backend: Backend, mut attempt: impl FnMut() -> Incident) -> Incident {
    let tries = if backend == Backend::Nft { 1 } else { TRIES };
    let mut last = None;
    for _ in 0..tries {
        let incident = attempt();
        if incident.actor().is_named() {
            return incident;
        }
        last = Some(incident);
    }
    panic!("nobody was named in {tries} tries; at last: {last:#?}");
}

impl Actor {
    /// Whether there is a name.
    pub fn is_named(&self) -> bool {
        self.name != "unknown"
    }
}
