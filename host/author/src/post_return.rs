//! Leaves out what would free a policy's answer. The canonical ABI lets a component name a function that is called once
//! the host has read an answer, and bindings make one that walks through all of it; but an instance lives for one call,
//! and its memory goes as a whole.

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload};

/// How bindings name such a function, before the name of the one whose answer it frees.
const PREFIX: &str = "cabi_post_";

/// The module without the exports of functions that free answers.
///
/// # Errors
/// When it can't be read.
pub fn removed(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut kept = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(exports) = payload {
            let mut section = ExportSection::new();
            for export in exports {
                let export = export?;
                if !export.name.starts_with(PREFIX) {
                    section.export(export.name, kind(export.kind), export.index);
                }
            }
            kept.section(&section);
        } else if let Some((id, range)) = payload.as_section() {
            kept.section(&RawSection { id, data: module.get(range).unwrap_or_default() });
        }
    }
    Ok(kept.finish())
}

fn kind(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_frees_answers_goes() {
        let module = |post: &str| {
            let text = format!(
                r#"(module
                    (memory (export "memory") 1)
                    (func (export "evaluate") (result i32) i32.const 8)
                    (func {post} (param i32))
                    (data (i32.const 8) "answer")
                    (@custom "kept" "as it is"))"#
            );
            wat::parse_str(text).unwrap()
        };
        let with = module(r#"(export "cabi_post_evaluate")"#);
        assert_eq!(removed(&with).unwrap(), module(""));
        assert_eq!(removed(&module("")).unwrap(), module(""));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let module = wat::parse_str(r#"(module (func (export "evaluate")))"#).unwrap();
        assert!(removed(&module[..module.len() - 1]).is_err());
    }
}
