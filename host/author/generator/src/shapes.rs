//! What a policy in Python answers with, value by value: an object is a tuple that begins with the number of its record or
//! of its case of a variant, so that none is taken for another. `python.rs` makes them, `unpacking.rs` reads them.

use std::collections::BTreeMap;

use wit_bindgen_core::wit_parser::{Function, Resolve, Result_, Type, TypeDefKind, TypeId, World, WorldItem};

/// The types of answers.
pub struct Shapes<'a> {
    pub resolve: &'a Resolve,
    /// In the order in which they need each other: what an object holds comes first.
    pub types: Vec<TypeId>,
    /// The number of a record, and that of a variant's first case; the others follow.
    numbers: BTreeMap<TypeId, usize>,
    next: usize,
}

/// The number of what succeeded; that of what failed follows. `../../python/__init__.py` has them too.
pub const OK: usize = 0;

impl<'a> Shapes<'a> {
    /// Of all answers of a world's functions.
    pub fn of(resolve: &'a Resolve, world: &World) -> Self {
        let mut shapes = Self { resolve, types: Vec::new(), numbers: BTreeMap::new(), next: OK + 2 };
        for function in functions(world) {
            match kind(resolve, &result(function)) {
                TypeDefKind::Result(Result_ { ok: Some(ok), err: Some(err) }) => {
                    [ok, err].map(|one| shapes.add(&one)).into()
                }
                _ => vec![shapes.add(&result(function))],
            };
        }
        shapes
    }

    /// A record's number, or that of a variant's first case.
    pub fn number(&self, id: TypeId) -> usize {
        self.numbers[&id]
    }

    fn add(&mut self, one: &Type) {
        let (numbers, parts): (usize, Vec<Type>) = match kind(self.resolve, one) {
            TypeDefKind::Record(record) => (1, record.fields.iter().map(|field| field.ty).collect()),
            TypeDefKind::Variant(variant) => {
                (variant.cases.len(), variant.cases.iter().filter_map(|case| case.ty).collect())
            }
            TypeDefKind::Tuple(tuple) => (0, tuple.types),
            TypeDefKind::List(part) | TypeDefKind::Option(part) => (0, vec![part]),
            TypeDefKind::Enum(_) | TypeDefKind::Flags(_) | TypeDefKind::Type(_) => return,
            other => panic!("the contract has a {}, which this generator does not know", other.as_str()),
        };
        parts.iter().for_each(|part| self.add(part));
        if let (Some(id), true) = (named(self.resolve, one), numbers > 0)
            && !self.numbers.contains_key(&id)
        {
            self.numbers.insert(id, self.next);
            self.next += numbers;
            self.types.push(id);
        }
    }
}

/// What a world exports.
pub fn functions(world: &World) -> impl Iterator<Item = &Function> {
    world.exports.values().filter_map(|item| match item {
        WorldItem::Function(function) => Some(function),
        _ => None,
    })
}

/// What a function answers.
pub fn result(function: &Function) -> Type {
    function.result.expect("each function of a policy answers")
}

/// What a type is, by whatever name.
pub fn kind(resolve: &Resolve, one: &Type) -> TypeDefKind {
    match one {
        Type::Id(id) => match &resolve.types[*id].kind {
            TypeDefKind::Type(other) => kind(resolve, other),
            kind => kind.clone(),
        },
        other => TypeDefKind::Type(*other),
    }
}

/// The type itself of what may be another name of it.
pub fn named(resolve: &Resolve, one: &Type) -> Option<TypeId> {
    match one {
        Type::Id(id) => match &resolve.types[*id].kind {
            TypeDefKind::Type(other) => named(resolve, other),
            _ => Some(*id),
        },
        _ => None,
    }
}
