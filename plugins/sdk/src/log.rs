//! Lines for the operator's log. In a component they go to the host; natively they are kept for tests ([`take`]).

pub use crate::bindings::ruleward::policy::log::Level;

/// Detail for whoever works on the policy.
pub fn debug(message: impl AsRef<str>) {
    emit(Level::Debug, message.as_ref());
}

/// What happened.
pub fn info(message: impl AsRef<str>) {
    emit(Level::Info, message.as_ref());
}

/// What may not be meant so.
pub fn warn(message: impl AsRef<str>) {
    emit(Level::Warn, message.as_ref());
}

/// What went wrong.
pub fn error(message: impl AsRef<str>) {
    emit(Level::Error, message.as_ref());
}

/// One line of the given level.
#[cfg(target_arch = "wasm32")]
pub fn emit(level: Level, message: &str) {
    crate::bindings::ruleward::policy::log::emit(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
thread_local! {
    static LINES: std::cell::RefCell<Vec<(Level, String)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// One line of the given level.
#[cfg(not(target_arch = "wasm32"))]
pub fn emit(level: Level, message: &str) {
    LINES.with_borrow_mut(|lines| lines.push((level, message.to_owned())));
}

/// The lines that this thread logged since the last call. Native builds only.
#[cfg(not(target_arch = "wasm32"))]
pub fn take() -> Vec<(Level, String)> {
    LINES.take()
}
