//! What reads the answers that `python.rs` makes, and writes what the canonical ABI has in memory: a module in which each
//! type is a function from the place of a value.

use std::collections::BTreeSet;
use std::fmt::Write;

use wit_bindgen_core::wit_parser::{Case, Function, Result_, SizeAlign, Type, TypeDefKind, World};

use crate::shapes::{OK, Shapes, functions, kind, named, result};

const TEMPLATE: &str = include_str!("unpacked.wat");
/// Where names are, which the template says too.
const NAMES: usize = 256;

/// What the template says, and how.
const SAID: [(&str, &str); 11] = [
    ("SPACE", " "),
    ("COLON", ": "),
    ("EXPECTED", " expected"),
    ("MORE", "more"),
    ("U8", "a number from 0 to 255"),
    ("U16", "a number from 0 to 65535"),
    ("U32", "a number from 0 to 4294967295"),
    ("S32", "a number from -2147483648 to 2147483647"),
    ("BOOL", "True or False"),
    ("STRING", "a text"),
    ("LIST", "a list"),
];

/// The module.
pub fn module(shapes: &Shapes<'_>, world: &World) -> String {
    let mut sizes = SizeAlign::default();
    sizes.fill(shapes.resolve).expect("the contract has sizes");
    let mut made = Unpacking { shapes, sizes, names: String::new(), done: BTreeSet::new(), types: String::new() };
    let answers: String = functions(world).map(|function| made.answer(function)).collect();
    let mut text = TEMPLATE.replace("@ANSWERS@", &answers).replace("@TYPES@", &made.types);
    for (name, said) in SAID {
        text = text.replace(&format!("(i32.const @{name}@)"), &made.name(said));
    }
    let free = (NAMES + made.names.len()).next_multiple_of(8);
    text.replace("@NAMES@", &made.names).replace("@FREE@", &free.to_string())
}

struct Unpacking<'a> {
    shapes: &'a Shapes<'a>,
    sizes: SizeAlign,
    /// All names, each once.
    names: String,
    /// Types whose function is written.
    done: BTreeSet<String>,
    types: String,
}

impl Unpacking<'_> {
    fn size(&self, one: &Type) -> usize {
        self.sizes.size(one).size_wasm32()
    }

    fn align(&self, one: &Type) -> usize {
        self.sizes.align(one).align_wasm32()
    }

    /// The place and length of a name, as two constants.
    fn name(&mut self, name: &str) -> String {
        let at = self.names.find(name).unwrap_or_else(|| {
            self.names.push_str(name);
            self.names.len() - name.len()
        });
        format!("(i32.const {}) (i32.const {})", NAMES + at, name.len())
    }

    /// A function of the contract.
    fn answer(&mut self, function: &Function) -> String {
        let (result, name) = (result(function), &function.name);
        let read = match kind(self.shapes.resolve, &result) {
            TypeDefKind::Result(Result_ { ok: Some(ok), err: Some(err) }) => {
                let function = format!("{name}-answer");
                let cases = [("ok", Some(ok)), ("err", Some(err))].map(|(name, ty)| (name.to_owned(), ty));
                self.variant(&function, OK, &cases, self.size(&result));
                function
            }
            _ => self.function(&result),
        };
        let size = self.size(&result);
        let (parameters, arguments, reused) = if function.params.is_empty() {
            ("", "", "")
        } else {
            // What is packed comes where the arguments were, of which the component beside has its own copy by then.
            (" (param $arguments i32)", "(local.get $arguments) ", "        (global.set $free (i32.const @FREE@))\n")
        };
        format!(
            "    (func (export \"{name}\"){parameters} (result i32)\n        (local $answer i32)\n{reused}        \
             (call ${name}-packed {arguments}(i32.const 0))\n        (call $begin)\n        \
             (local.set $answer (call $allocate (i64.const {size})))\n        \
             (call ${read} (local.get $answer))\n        (local.get $answer))\n\n"
        )
    }

    /// The name of the function that reads a value of this type, which is written if it is not there yet.
    fn function(&mut self, one: &Type) -> String {
        let name = self.type_name(one);
        if matches!(kind(self.shapes.resolve, one), TypeDefKind::Type(_)) || !self.done.insert(name.clone()) {
            return name;
        }
        match kind(self.shapes.resolve, one) {
            TypeDefKind::Record(record) => {
                let number = self.number(one);
                let mut body = format!("        (call $record (i32.const {number}) {})\n", self.name(&name));
                let mut end = 0_usize;
                for field in &record.fields {
                    let start = end.next_multiple_of(self.align(&field.ty));
                    body.push_str(&self.read(&field.ty, start));
                    end = start + self.size(&field.ty);
                }
                self.write(&name, "", &body);
            }
            TypeDefKind::Tuple(tuple) => {
                let what = self.name(&name);
                let mut body = format!(
                    "        (if (i32.ne (call $elements {what}) (i32.const {})) (then (call $refuse {what})))\n",
                    tuple.types.len()
                );
                let mut end = 0_usize;
                for part in &tuple.types {
                    let start = end.next_multiple_of(self.align(part));
                    body.push_str(&self.read(part, start));
                    end = start + self.size(part);
                }
                self.write(&name, "", &body);
            }
            TypeDefKind::Variant(variant) => {
                let cases: Vec<_> = variant.cases.iter().map(|Case { name, ty, .. }| (name.clone(), *ty)).collect();
                self.variant(&name, self.number(one), &cases, self.size(one));
            }
            TypeDefKind::Option(some) => {
                let start = 1_usize.next_multiple_of(self.align(&some));
                let read = self.read(&some, start);
                let body = format!(
                    "        (if (call $none) (then (i32.store8 (local.get $to) (i32.const 0)) (return)))\n        \
                     (i32.store8 (local.get $to) (i32.const 1))\n{read}"
                );
                self.write(&name, "", &body);
            }
            TypeDefKind::List(element) => {
                let (function, size) = (self.function(&element), self.size(&element));
                let what = self.type_name(&element);
                let what = self.name(&what);
                let body = format!(
                    "        (local.set $one (call $list (local.get $to) (i32.const {size}) {what}))\n        \
                     (block $end\n            (loop $elements\n                \
                     (br_if $end (i32.eqz (call $another)))\n                (call ${function} (local.get $one))\n                \
                     (local.set $one (i32.add (local.get $one) (i32.const {size})))\n                (call $next)\n                \
                     (br $elements)))\n        (call $listed)\n"
                );
                self.write(&name, " (local $one i32)", &body);
            }
            // The host knows which numbers there are.
            TypeDefKind::Enum(_) | TypeDefKind::Flags(_) if self.size(one) == 1 => {
                self.write(&name, "", "        (call $u8 (local.get $to))\n");
            }
            other => panic!("the contract has a {}, which this generator does not know", other.as_str()),
        }
        name
    }

    /// Reads a value to so many bytes from the place of what it is a part of.
    fn read(&mut self, one: &Type, start: usize) -> String {
        let to = match start {
            0 => "(local.get $to)".to_owned(),
            start => format!("(i32.add (local.get $to) (i32.const {start}))"),
        };
        format!("        (call ${} {to})\n", self.function(one))
    }

    fn variant(&mut self, name: &str, number: usize, cases: &[(String, Option<Type>)], size: usize) {
        let payloads = cases.iter().filter_map(|(_, payload)| payload.as_ref());
        let start = 1_usize.next_multiple_of(payloads.map(|payload| self.align(payload)).max().unwrap_or(1));
        assert!(size <= 1 << 16 && cases.len() <= 256, "a variant of {} cases", cases.len());
        let what = self.name(name);
        let mut body = format!(
            "        (local.set $case (i32.sub (call $object {what}) (i32.const {number})))\n        \
             (if (i32.ge_u (local.get $case) (i32.const {})) (then (call $refuse {what})))\n        \
             (i32.store8 (local.get $to) (local.get $case))\n",
            cases.len()
        );
        for (case, (_, payload)) in cases.iter().enumerate() {
            if let Some(payload) = payload {
                let read = self.read(payload, start);
                let _ = write!(
                    body,
                    "        (if (i32.eq (local.get $case) (i32.const {case}))\n            (then {} (return)))\n",
                    read.trim()
                );
            }
        }
        self.write(name, " (local $case i32)", &body);
    }

    fn write(&mut self, name: &str, locals: &str, body: &str) {
        let _ = write!(self.types, "\n    (func ${name} (param $to i32){locals}\n{})\n", body.trim_end());
    }

    fn number(&self, one: &Type) -> usize {
        named(self.shapes.resolve, one).map_or(0, |id| self.shapes.number(id))
    }

    fn type_name(&self, one: &Type) -> String {
        let resolve = self.shapes.resolve;
        match (named(resolve, one), kind(resolve, one)) {
            (_, TypeDefKind::Type(plain)) => format!("{plain:?}").to_lowercase(),
            (_, TypeDefKind::List(element)) => format!("list-of-{}", self.type_name(&element)),
            (_, TypeDefKind::Option(some)) => format!("optional-{}", self.type_name(&some)),
            (Some(id), _) => resolve.types[id].name.clone().expect("a type of the contract has a name"),
            (None, other) => panic!("a {} without a name", other.as_str()),
        }
    }
}
