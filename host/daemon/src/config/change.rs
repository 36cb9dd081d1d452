//! What of a changed configuration takes effect while the daemon runs, and what waits for the next start.

use super::Config;

impl Config {
    /// This configuration as far as a daemon can take it that runs with `running`, and the keys of which it can't: they
    /// keep their values until the next start.
    #[must_use]
    pub fn taken_by(self, running: &Self) -> (Self, Vec<&'static str>) {
        let waits: Vec<&'static str> = [
            ("backend", self.backend != running.backend),
            ("command-timeout", self.command_timeout != running.command_timeout),
            ("compile-memory", self.compile_memory != running.compile_memory),
            ("compile-time", self.compile_time != running.compile_time),
            ("event-buffer", self.event_buffer != running.event_buffer),
            ("families", self.families != running.families),
            ("http", self.http != running.http),
            ("history-size", self.history_size != running.history_size),
            ("history-versions", self.history_versions != running.history_versions),
            ("incident-journal-size", self.incident_journal_size != running.incident_journal_size),
            ("legacy-poll-interval", self.legacy_poll_interval != running.legacy_poll_interval),
            ("lock-timeout", self.lock_timeout != running.lock_timeout),
            ("socket-group", self.socket_group != running.socket_group),
            ("socket-mode", self.socket_mode != running.socket_mode),
            ("runtime-directory", self.runtime_directory != running.runtime_directory),
            ("state-directory", self.state_directory != running.state_directory),
            ("watch", self.watch != running.watch),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect();
        let taken = Self {
            backend: running.backend,
            command_timeout: running.command_timeout,
            compile_memory: running.compile_memory,
            compile_time: running.compile_time,
            event_buffer: running.event_buffer,
            families: running.families,
            http: running.http.clone(),
            history_size: running.history_size,
            history_versions: running.history_versions,
            incident_journal_size: running.incident_journal_size,
            legacy_poll_interval: running.legacy_poll_interval,
            lock_timeout: running.lock_timeout,
            socket_group: running.socket_group.clone(),
            socket_mode: running.socket_mode,
            runtime_directory: running.runtime_directory.clone(),
            state_directory: running.state_directory.clone(),
            watch: running.watch,
            // Takes effect at once:
            file: self.file,
            files: self.files,
            node_name: self.node_name,
            refresh_interval: self.refresh_interval,
            policy_directory: self.policy_directory,
            documents: self.documents,
            full_comparison_every: self.full_comparison_every,
            log: self.log,
            log_format: self.log_format,
            repair_wait: self.repair_wait,
            repair_wait_mass: self.repair_wait_mass,
            replay: self.replay,
            traces: self.traces,
            limits_ceiling: self.limits_ceiling,
            policies: self.policies,
        };
        (taken, waits)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Source;

    fn config(text: &str) -> Config {
        let file = Path::new("/etc/ruleward/ruleward.toml");
        Config::parse(file, &[Source { file: file.to_owned(), text: text.to_owned() }]).unwrap()
    }

    #[test]
    fn what_a_running_daemon_can_not_take_waits_and_is_named() {
        let running = config("refresh-interval = \"90s\"\nbackend = \"nft\"");
        let changed = config(
            "refresh-interval = \"5s\"\nbackend = \"legacy\"\nwatch = \"off\"\ntraces = \"http://127.0.0.1:4318\"\n[policies.web]\n",
        );
        let (taken, waits) = changed.clone().taken_by(&running);
        assert_eq!(waits, ["backend", "watch"]);
        assert_eq!(taken, Config { backend: running.backend, watch: true, ..changed });
        assert_eq!(running.clone().taken_by(&running), (running, Vec::new()));
    }
}
