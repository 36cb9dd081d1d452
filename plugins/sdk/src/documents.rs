//! Documents as values of your own types, and refusals that name the document and the field.

use serde::Deserialize;

use crate::{Document, Facts, Failure, json};

impl Facts {
    /// The documents of one kind, ordered by namespace and name.
    pub fn documents_of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Document> {
        self.documents.iter().filter(move |document| document.kind == kind)
    }

    /// The documents of one kind, each with its resource read as a `T`.
    ///
    /// # Errors
    /// [`Failure::Document`] for the first that is not built like a `T`, with the path of the field.
    pub fn read_documents<'a, T: Deserialize<'a>>(&'a self, kind: &str) -> Result<Vec<(&'a Document, T)>, Failure> {
        let of_kind = self.documents.iter().filter(|document| document.kind == kind);
        of_kind.map(|document| Ok((document, document.read()?))).collect()
    }
}

impl Document {
    /// The whole resource as a `T`. Describe only the fields that you need: others are passed over.
    ///
    /// # Errors
    /// [`Failure::Document`] with the path of the field that does not fit.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        json::read(&self.json).map_err(|problem| self.refuse(&problem.field(), problem.message))
    }

    /// A refusal that names the document and a field of it: `spec.cidr`; an empty field stands for the document.
    pub fn refuse(&self, field: &str, message: impl Into<String>) -> Failure {
        let namespace = self.namespace.as_ref().map_or(String::new(), |namespace| format!("{namespace}/"));
        let at = format!("{}/{namespace}{} {field}", self.kind, self.name);
        Failure::in_document(at.trim_end(), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Pool {
        spec: PoolSpec,
    }

    #[derive(Debug, Deserialize)]
    struct PoolSpec {
        cidr: String,
    }

    fn pool(json: &str) -> Document {
        Document {
            api_version: "projectcalico.org/v3".into(),
            kind: "IPPool".into(),
            namespace: None,
            name: "pool4".into(),
            json: json.into(),
        }
    }

    #[test]
    fn a_document_is_read_as_a_type() {
        let document = pool(r#"{"kind":"IPPool","spec":{"cidr":"10.0.0.0/8","other":1}}"#);
        assert_eq!(document.read::<Pool>().unwrap().spec.cidr, "10.0.0.0/8");
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        let Failure::Document(problem) = pool(r#"{"spec":{"cidr":7}}"#).read::<Pool>().unwrap_err() else {
            panic!("refused, but not as a document")
        };
        assert_eq!(problem.where_, "IPPool/pool4 spec.cidr");
        assert!(problem.message.contains("expected a string"), "{}", problem.message);
    }
}
