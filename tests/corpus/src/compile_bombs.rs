//! Components that are small, valid and dear to compile: they take memory or processor time without end.

use super::Guest;

/// One of them.
pub struct CompileBomb {
    /// Unique; letters and underscores.
    pub name: &'static str,
    /// The component, some megabytes.
    pub component: Vec<u8>,
}

/// All of them. Each takes about a second to build.
pub fn compile_bombs() -> Vec<CompileBomb> {
    let bomb = |name, more: &str| CompileBomb { name, component: Guest { more, ..Guest::default() }.component() };
    vec![
        bomb("many_functions", &many_functions(4_000)),
        bomb("one_huge_function", &format!("(func (param i64) (result i64) (local.get 0) {})", straight(150_000))),
        bomb("huge_branch_tables", &branch_tables(150, 15_000)),
        bomb("many_locals", &many_locals(40, 20_000)),
    ]
}

/// Operations that each depend on the one before, so that nothing can be left out.
fn straight(operations: usize) -> String {
    let one = "i64.const 7 i64.mul i64.const 13 i64.rotl local.get 0 i64.xor i64.popcnt local.get 0 i64.add ";
    one.repeat(operations)
}

fn many_functions(count: usize) -> String {
    let body = straight(100);
    let one = format!("(func (param i64) (result i64) (local.get 0) {body})");
    one.repeat(count)
}

/// Functions in which every value of a number goes somewhere else.
fn branch_tables(functions: usize, targets: usize) -> String {
    let table: String = (0..targets).map(|target| format!("{} ", target % 500)).collect();
    let one = format!(
        "(func (param i32) {} (br_table {table} (local.get 0)) {})",
        "(block ".repeat(500),
        "(drop (i32.popcnt (local.get 0))))".repeat(500)
    );
    one.repeat(functions)
}

/// Functions in which thousands of values live at the same time.
fn many_locals(functions: usize, locals: usize) -> String {
    let declared = "i64 ".repeat(locals);
    let set: String =
        (1..=locals).map(|n| format!("(local.set {n} (i64.rotl (local.get {}) (local.get 0)))", n - 1)).collect();
    let sum: String = (1..=locals).rev().map(|n| format!("(i64.add (local.get {n})) ")).collect();
    let one = format!("(func (param i64) (result i64) (local {declared}) {set} (local.get 0) {sum})");
    one.repeat(functions)
}
