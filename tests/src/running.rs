//! A command in the background that goes on until its standard input closes, and says on the way what it sees. It is
//! killed if it goes out of scope before that.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout};

/// A command that was started with [`crate::Command::start`].
pub struct Running {
    line: String,
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn new(line: String, mut child: Child) -> Self {
        let output = child.stdout.take().expect("its output is a pipe");
        Self { line, child, output: BufReader::new(output).lines() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("its input is a pipe");
        std::io::Write::write_all(input, text.as_bytes()).unwrap_or_else(|error| panic!("`{}`: {error}", self.line));
    }

    /// Waits for its next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.output.next().unwrap_or_else(|| panic!("`{}` ended before it said anything more", self.line));
        line.expect("what it says is text")
    }

    /// Waits until it says `line`.
    #[track_caller]
    pub fn says(&mut self, line: &str) {
        let said = self.line();
        assert_eq!(said, line, "`{}` said something else", self.line);
    }

    /// Tells it to end; the lines that were not read yet. It must end with status 0.
    #[track_caller]
    pub fn finish(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let lines: Result<Vec<_>, _> = self.output.by_ref().collect();
        let lines = lines.expect("what it says is text");
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "`{}` ended with {status}: {lines:?}", self.line);
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
