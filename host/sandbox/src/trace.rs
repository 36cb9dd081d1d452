//! Where in its own code a policy was when it crashed, as far as its component still has the names of its functions. They
//! are the policy's own words, so they are shown on one line and cut.

use std::fmt;

use rustc_demangle::try_demangle;
use wasmtime::WasmBacktrace;

use super::guest::one_line;

/// So many functions are shown, the innermost first.
const MOST: usize = 8;
/// Longest name, in bytes.
const LONGEST: usize = 120;
/// What a panic passes through in Rust before it ends the call says nothing about the policy.
const MACHINERY: [&str; 6] = ["core::", "std::", "alloc::", "__rust", "rust_", "abort"];

/// The functions, the innermost first; none if they have no names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace(Vec<String>);

impl Trace {
    /// Of a call that failed.
    pub fn of(error: &wasmtime::Error) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        Self::from_names(frames.iter().filter_map(|frame| frame.func_name()))
    }

    fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut readable: Vec<String> = names.map(readable).collect();
        readable.dedup(); // recursion
        let own = readable.iter().position(|name| !MACHINERY.iter().any(|machinery| name.starts_with(machinery)));
        readable.drain(..own.unwrap_or_default());
        readable.truncate(MOST);
        Self(readable)
    }
}

/// Without the hash that compilers put behind a name.
fn readable(name: &str) -> String {
    let name = try_demangle(name).map_or_else(|_| name.to_owned(), |name| format!("{name:#}"));
    one_line(&name, LONGEST)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; it was in {}", self.0.join(", called by ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_as_their_author_named_them() {
        let names = [
            "_ZN4core9panicking9panic_fmt17h0123456789abcdefE",
            "_ZN3web5rules5admit17h0123456789abcdefE",
            "walk",
            "walk",
            "a\nb",
        ];
        let trace = Trace::from_names(names.into_iter());
        assert_eq!(trace.to_string(), "; it was in web::rules::admit, called by walk, called by a\u{fffd}b");
        assert_eq!(Trace::from_names(std::iter::empty()).to_string(), "");
        // Nothing but machinery is better than nothing.
        let only = Trace::from_names(["rust_begin_unwind"].into_iter());
        assert_eq!(only.to_string(), "; it was in rust_begin_unwind");
        let long = "x".repeat(10_000);
        let many = Trace::from_names(std::iter::repeat_n(["f", long.as_str()], 100).flatten()).to_string();
        assert!(many.len() < 2 * MOST * LONGEST, "{many}");
    }
}
