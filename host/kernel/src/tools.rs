//! The stock tools as the host uses them: save, restore, ipset.
//!
//! A save that comes back is a complete, well-formed save of what was asked for, or empty because there is no such
//! table; everything doubtful is an error. A script goes in whole and its refusal names the line. Looking at
//! iptables-legacy never loads a table that the namespace does not have. All of it works in the calling
//! thread's network namespace.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::bytes;
use ruleward_core::contribution::Families;
use ruleward_core::facts::Version;
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::quote;
use ruleward_core::sets::ListReader;
use thiserror::Error;

use super::chains::{self, HeldChain};
use super::lock::PrivateLock;
use super::process::{Finished, Invocation, ToolError};
use super::restore_message::{self, Refusal};
use super::save_text::{self, SaveTextError};
use super::target_names;
use super::tool_path::is_installed;

/// Why a script was not carried out. With several tables in it, those before the refused one are committed.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// Someone held the xtables lock all the time; nothing was changed.
    #[error("{program} waited {} s for the xtables lock and gave up; nothing was changed", .waited.as_secs())]
    LockBusy {
        /// Name of the program.
        program: String,
        /// The limit it was given.
        waited: Duration,
    },
    /// The tool or the kernel refused it.
    #[error("{program} refused {}: {message}", place(*.line, .text.as_deref()))]
    Refused {
        /// Name of the program.
        program: String,
        /// Its exit status.
        status: i32,
        /// Line of the script, from 1, at which it was noticed.
        line: Option<usize>,
        /// That line.
        text: Option<String>,
        /// The reason.
        message: String,
        /// It may be no reason for the rule that is to blame: the tool gave none, or warned of rules that it took.
        vague: bool,
    },
    /// A script has no words for it.
    #[error(
        "iptables-restore can't delete a rule: {reason}, and rules have moved since they were read; the next check tries again"
    )]
    Unwritable {
        /// Why.
        reason: &'static str,
    },
    /// The tool did not run to its end. Whether the script took effect is not known.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

fn place(line: Option<usize>, text: Option<&str>) -> String {
    match (line, text) {
        (Some(line), Some(text)) => format!("line {line} (`{text}`)"),
        (Some(line), None) => format!("line {line}"),
        (None, _) => "the script".to_owned(),
    }
}

/// A tool that is taking its time.
#[derive(Debug, Clone, Copy)]
pub struct ToolWait<'a> {
    /// Name of the program.
    pub program: &'a str,
    /// How long it has run.
    pub elapsed: Duration,
}

impl fmt::Display for ToolWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for {}, for {} s", self.program, self.elapsed.as_secs())
    }
}

/// ReloadRequest about once a second while a tool runs.
pub type OnToolWait = Arc<dyn Fn(ToolWait<'_>) + Send + Sync>;

/// The tools of one backend, and ipset.
#[derive(Clone)]
pub struct Tools {
    backend: Backend,
    command_timeout: Duration,
    lock_timeout: Duration,
    private_lock: Option<Arc<PrivateLock>>,
    on_wait: Option<OnToolWait>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let private = self.private_lock.is_some();
        f.debug_struct("Tools").field("backend", &self.backend).field("private_lock", &private).finish_non_exhaustive()
    }
}

impl Tools {
    /// Those of `backend`, with a minute for a command and ten for the xtables lock.
    pub fn new(backend: Backend) -> Self {
        let (command_timeout, lock_timeout) = (Duration::from_secs(60), Duration::from_secs(600));
        Self { backend, command_timeout, lock_timeout, private_lock: None, on_wait: None }
    }

    /// The longest run of one command, not counting a wait for the xtables lock.
    #[must_use]
    pub fn with_command_timeout(self, command_timeout: Duration) -> Self {
        Self { command_timeout, ..self }
    }

    /// The longest wait of iptables-legacy for the xtables lock; whole seconds, at least one.
    #[must_use]
    pub fn with_lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// Lets iptables-legacy take `lock` and not the node's: for use while we hold the node's lock ourselves, and in
    /// a scratch namespace.
    #[must_use]
    pub fn with_private_lock(self, lock: Arc<PrivateLock>) -> Self {
        Self { private_lock: Some(lock), ..self }
    }

    /// Reports tools that take longer than a second.
    #[must_use]
    pub fn with_on_wait(self, on_wait: OnToolWait) -> Self {
        Self { on_wait: Some(on_wait), ..self }
    }

    /// The same for the other implementation, or for this one.
    #[must_use]
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Whose tools these are.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The save of one table, without counters of rules. Empty: the table does not exist. iptables-nft shows some
    /// absent tables as existing and empty; it does not create them.
    ///
    /// # Errors
    /// [`ToolError`]; [`ToolError::Untrustworthy`] if what it printed is not a save of that table.
    pub fn save(&self, family: Family, table: Table) -> Result<String, ToolError> {
        if self.backend == Backend::Legacy && !legacy_tables(family)?.contains(&table) {
            return Ok(String::new());
        }
        self.checked_save(family, Some(table), &[])
    }

    /// The same with the counters of each rule: `[packets:bytes] -A ...`.
    ///
    /// # Errors
    /// As [`Tools::save`].
    pub fn save_with_counters(&self, family: Family, table: Table) -> Result<String, ToolError> {
        if self.backend == Backend::Legacy && !legacy_tables(family)?.contains(&table) {
            return Ok(String::new());
        }
        self.checked_save(family, Some(table), &["-c"])
    }

    /// The saves of all tables that exist, in one run of the tool.
    ///
    /// # Errors
    /// As [`Tools::save`]; one table that can't be shown fails them all.
    pub fn save_all(&self, family: Family) -> Result<String, ToolError> {
        if self.backend == Backend::Legacy && legacy_tables(family)?.is_empty() {
            return Ok(String::new());
        }
        self.checked_save(family, None, &[])
    }

    fn checked_save(&self, family: Family, table: Option<Table>, options: &[&str]) -> Result<String, ToolError> {
        let program = program(self.backend, family, "-save");
        let mut arguments = table.map_or(Vec::new(), |table| vec!["-t", table.as_str()]);
        arguments.extend(options);
        let text = self.run(&program, "iptables", &arguments, b"", Duration::ZERO)?.success(&program)?;
        if let Err(error) = save_text::check(&text, table) {
            if let SaveTextError::Incompatible { remark } = error {
                return Err(ToolError::Incompatible { program, remark });
            }
            return Err(ToolError::Untrustworthy { program, reason: error.to_string() });
        }
        if text.is_empty() && self.must_show_something(family, table) {
            let reason = "it printed nothing, although the kernel has this table".to_owned();
            return Err(ToolError::Untrustworthy { program, reason });
        }
        Ok(text)
    }

    /// Whether the kernel says itself that there is something to print. Legacy was asked before.
    fn must_show_something(&self, family: Family, table: Option<Table>) -> bool {
        if self.backend == Backend::Legacy {
            return true;
        }
        let families = Families { ipv4: family == Family::Ipv4, ipv6: family == Family::Ipv6 };
        let asked = |chain: &HeldChain| table.is_none_or(|table| chain.table == table);
        chains::in_nft(families).is_ok_and(|held| held.chains.iter().any(asked))
    }

    /// Carries out a script with `--noflush`; each table in it is committed by itself.
    ///
    /// # Errors
    /// [`RestoreError`]
    pub fn restore(&self, family: Family, script: &str) -> Result<(), RestoreError> {
        if self.backend == Backend::Legacy {
            self.load_legacy(family);
        }
        let program = program(self.backend, family, "-restore");
        let waited = Duration::from_secs(self.lock_timeout.as_secs().max(1));
        let seconds = waited.as_secs().to_string();
        let (arguments, extra): (&[&str], Duration) = match self.backend {
            Backend::Nft => (&["--noflush"], Duration::ZERO),
            // Nobody else knows a private lock, so there is nothing to wait for. With a number the tool sets an alarm, which
            // goes off on a machine that stands still for so long, and the tool blames the lock.
            Backend::Legacy if self.private_lock.is_some() => (&["--noflush", "--wait"], Duration::ZERO),
            Backend::Legacy => (&["--noflush", "--wait", &seconds], waited),
        };
        let finished = self.run(&program, "iptables", arguments, &bytes::encode(script), extra)?;
        if finished.status == 4 && finished.stderr.contains("holding the xtables lock") {
            return Err(RestoreError::LockBusy { program, waited });
        }
        judge(program, script, finished)
    }

    /// Why the tool does not append `rule` to a chain that exists, in its own words; `None` if it does, or does not say.
    /// It is appended then: for a scratch namespace only.
    pub fn why_refused(&self, family: Family, table: Table, chain: &str, rule: &str) -> Option<String> {
        let program = program(self.backend, family, "");
        let words: Vec<_> = quote::words(rule).collect();
        let mut arguments = vec!["-t", table.as_str(), "-A", chain];
        arguments.extend(words.iter().map(|word| &**word));
        let finished = self.run(&program, "iptables", &arguments, b"", Duration::ZERO).ok()?;
        if finished.status == 0 {
            return None;
        }
        let Refusal { message, warnings, .. } = restore_message::parse(&finished.stderr);
        let reason: Vec<String> = Some(message).into_iter().chain(warnings).filter(|part| !part.is_empty()).collect();
        (!reason.is_empty()).then(|| reason.join(" / "))
    }

    /// Has the kernel's module loaded, which iptables-legacy would do itself if it could start a program. What is wrong with
    /// that is told by the tool that misses the module.
    fn load_legacy(&self, family: Family) {
        let (module, shown) = match family {
            Family::Ipv4 => ("ip_tables", "/proc/thread-self/net/ip_tables_names"),
            Family::Ipv6 => ("ip6_tables", "/proc/thread-self/net/ip6_tables_names"),
        };
        if std::path::Path::new(shown).exists() {
            return;
        }
        let invocation = Invocation {
            program: "modprobe",
            package: "kmod",
            arguments: &["--quiet", module],
            stdin: b"",
            environment: &[],
            timeout: self.command_timeout,
            descriptor: None,
            confined: false,
        };
        let _ = invocation.run(&mut |_| {});
    }

    /// All sets with type, options, number of references and members, as `ipset list` prints them.
    ///
    /// # Errors
    /// [`ToolError`]
    pub fn ipset_list(&self, list: &mut ListReader) -> Result<(), ToolError> {
        self.list_sets(&["list"], b"", list)
    }

    /// The same of these sets, which must exist.
    ///
    /// # Errors
    /// [`ToolError`]
    pub fn ipset_list_some(&self, names: &[String], list: &mut ListReader) -> Result<(), ToolError> {
        if names.is_empty() {
            return Ok(());
        }
        if names.iter().any(|name| !name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\'))) {
            return self.ipset_list(list);
        }
        let script: String = names.iter().map(|name| format!("list {name}\n")).collect();
        self.list_sets(&["restore"], script.as_bytes(), list)
    }

    fn list_sets(&self, arguments: &[&str], stdin: &[u8], list: &mut ListReader) -> Result<(), ToolError> {
        let take = &mut |output: &[u8]| list.push(output);
        self.run_into("ipset", "ipset", arguments, stdin, Duration::ZERO, take)?.success("ipset").map(drop)
    }

    /// Carries out the lines of an ipset script, one after the other: those before a refused one take effect.
    ///
    /// # Errors
    /// [`RestoreError`]
    pub fn ipset_restore(&self, script: &str) -> Result<(), RestoreError> {
        let finished = self.run("ipset", "ipset", &["restore"], &bytes::encode(script), Duration::ZERO)?;
        judge("ipset restore".to_owned(), script, finished)
    }

    /// The version of the installed tools.
    ///
    /// # Errors
    /// [`ToolError`]
    pub fn iptables_version(&self) -> Result<Version, ToolError> {
        let program = program(self.backend, Family::Ipv4, "");
        let text = self.run(&program, "iptables", &["-V"], b"", Duration::ZERO)?.success(&program)?;
        parse_version(&text).ok_or_else(|| ToolError::Untrustworthy {
            program,
            reason: format!("{:?} is not a version", text.chars().take(80).collect::<String>()),
        })
    }

    /// What plain `iptables -V` says.
    pub(super) fn plain_version(&self) -> Result<String, ToolError> {
        self.run("iptables", "iptables", &["-V"], b"", Duration::ZERO)?.success("iptables")
    }

    /// The tables that iptables-legacy has in this namespace; looking does not load one.
    ///
    /// # Errors
    /// [`ToolError::TableList`] if the kernel's list can't be read.
    pub fn legacy_tables(&self, family: Family) -> Result<Vec<Table>, ToolError> {
        legacy_tables(family)
    }

    fn run(
        &self,
        program: &str,
        package: &'static str,
        arguments: &[&str],
        stdin: &[u8],
        extra: Duration,
    ) -> Result<Finished, ToolError> {
        let mut stdout = Vec::new();
        let take = &mut |output: &[u8]| stdout.extend_from_slice(output);
        let finished = self.run_into(program, package, arguments, stdin, extra, take)?;
        Ok(Finished { stdout: bytes::decode(stdout), ..finished })
    }

    fn run_into(
        &self,
        program: &str,
        package: &'static str,
        arguments: &[&str],
        stdin: &[u8],
        extra: Duration,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<Finished, ToolError> {
        let given: Option<OsString> = std::env::var_os("XTABLES_LOCKFILE");
        let lock: Option<&OsStr> = self.private_lock.as_ref().map(|lock| lock.path()).or(given.as_deref());
        let folders = target_names::configured();
        let folders = folders.as_deref().map(|folders| (target_names::LIBRARY_FOLDERS, folders));
        let environment: Vec<(&str, &OsStr)> =
            lock.map(|path| ("XTABLES_LOCKFILE", path)).into_iter().chain(folders).collect();
        let timeout = self.command_timeout.saturating_add(extra);
        let descriptor = self.private_lock.as_ref().map(|lock| lock.descriptor());
        let environment = &environment;
        let invocation =
            Invocation { program, package, arguments, stdin, environment, timeout, descriptor, confined: true };
        let mut waits = |elapsed| {
            if let Some(on_wait) = &self.on_wait {
                on_wait(ToolWait { program, elapsed });
            }
        };
        invocation.run_into(&mut waits, take)
    }
}

/// `iptables-nft-save` and its like.
pub fn program(backend: Backend, family: Family, action: &str) -> String {
    let base = match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    format!("{base}-{}{action}", backend.as_str())
}

/// The first tool of `backend` that the host needs for `family` and that is not installed.
pub fn missing_tool(backend: Backend, family: Family) -> Option<String> {
    ["", "-save", "-restore"].iter().map(|action| program(backend, family, action)).find(|name| !is_installed(name))
}

/// The tables that iptables-legacy has in the calling thread's network namespace. The kernel lists them; asking the
/// tool for a table that is not there would load it.
///
/// # Errors
/// [`ToolError::TableList`] if the kernel's list can't be read.
pub fn legacy_tables(family: Family) -> Result<Vec<Table>, ToolError> {
    // "self" would be the namespace of the main thread.
    let path = match family {
        Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
        Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match std::fs::read_to_string(path) {
        Ok(names) => {
            let present: Vec<&str> = names.lines().collect();
            Ok(Table::ALL.into_iter().filter(|table| present.contains(&table.as_str())).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ToolError::TableList { path, source }),
    }
}

/// A restore's end as a result.
fn judge(program: String, script: &str, finished: Finished) -> Result<(), RestoreError> {
    if finished.status == 0 {
        // A restore that works is silent. Whether it did what it says is read back; that it spoke is for the operator.
        if !finished.stdout.trim().is_empty() {
            let said: String = finished.stdout.chars().take(120).collect();
            tracing::warn!("{program} ended with status 0, but printed {said:?}; its work is read back");
        }
        return Ok(());
    }
    let refusal = restore_message::parse(&finished.stderr);
    let text = refusal.line.and_then(|line| script.split('\n').nth(line.checked_sub(1)?));
    let message = match (refusal.message.is_empty(), text) {
        (false, _) => refusal.message,
        (true, Some("COMMIT")) => {
            "the kernel does not accept the table, for one of the rules before this line; its log (dmesg) may say why"
                .to_owned()
        }
        (true, _) => format!("it gives no reason (status {})", finished.status),
    };
    let text = text.map(|text| text.chars().take(300).collect());
    let vague = refusal.vague || text.as_deref() == Some("COMMIT");
    Err(RestoreError::Refused { program, status: finished.status, line: refusal.line, text, message, vague })
}

/// `iptables v1.8.9 (nf_tables)`
pub(super) fn parse_version(text: &str) -> Option<Version> {
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
    number_triple(word)
}

/// The first three numbers of `1.8.9`, `6.18.44-fc`, `5.10`.
pub(super) fn number_triple(text: &str) -> Option<Version> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let first = numbers.next()?.parse().ok()?;
    let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(Version(first, next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("iptables v1.8.9 (nf_tables)\n"), Some(Version(1, 8, 9)));
        assert_eq!(parse_version("iptables v1.8 (legacy)"), Some(Version(1, 8, 0)));
        assert_eq!(parse_version("iptables"), None);
        assert_eq!(number_triple("6.18.44-fc-v595"), Some(Version(6, 18, 44)));
        assert_eq!(number_triple("5.10-rc3"), Some(Version(5, 10, 0)));
        assert_eq!(number_triple("x"), None);
    }

    #[test]
    fn a_refusal_shows_the_line() {
        let stderr = "iptables-nft-restore: line 2 failed: Bad policy name.\n".to_owned();
        let finished = Finished { status: 1, stdout: String::new(), stderr, took: Duration::ZERO };
        let error = judge("iptables-nft-restore".to_owned(), "*filter\n-P INPUT X\nCOMMIT\n", finished).unwrap_err();
        assert_eq!(error.to_string(), "iptables-nft-restore refused line 2 (`-P INPUT X`): Bad policy name.");
    }

    #[test]
    fn a_silent_refusal_at_commit_is_explained() {
        let stderr = "iptables-restore: line 3 failed\n".to_owned();
        let finished = Finished { status: 1, stdout: String::new(), stderr, took: Duration::ZERO };
        let error = judge("x".to_owned(), "*filter\n-A INPUT -j MASQUERADE\nCOMMIT\n", finished).unwrap_err();
        assert!(error.to_string().starts_with("x refused line 3 (`COMMIT`): the kernel does not accept"), "{error}");
    }

    #[test]
    fn names_of_programs() {
        assert_eq!(program(Backend::Nft, Family::Ipv6, "-restore"), "ip6tables-nft-restore");
        assert_eq!(program(Backend::Legacy, Family::Ipv4, ""), "iptables-legacy");
    }
}
