//! Resources as values of your own types, and refusals that name the resource and the field.

use serde::Deserialize;

use crate::{Facts, Failure, Resource, json};

impl Facts {
    /// The resources of one kind, ordered by namespace and name.
    pub fn resources_of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }

    /// The resources of one kind, each with its JSON read as a `T`.
    ///
    /// # Errors
    /// [`Failure::Resource`] for the first that is not built like a `T`, with the path of the field.
    pub fn read_resources<'a, T: Deserialize<'a>>(&'a self, kind: &str) -> Result<Vec<(&'a Resource, T)>, Failure> {
        let of_kind = self.resources.iter().filter(|resource| resource.kind == kind);
        of_kind.map(|resource| Ok((resource, resource.read()?))).collect()
    }
}

impl Resource {
    /// The whole resource as a `T`. Describe only the fields that you need: others are passed over.
    ///
    /// # Errors
    /// [`Failure::Resource`] with the path of the field that does not fit.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        json::read(&self.json).map_err(|problem| self.refuse(&problem.field(), problem.message))
    }

    /// A refusal that names the resource and a field of it: `spec.cidr`; an empty field stands for the resource.
    pub fn refuse(&self, field: &str, message: impl Into<String>) -> Failure {
        let namespace = self.namespace.as_ref().map_or(String::new(), |namespace| format!("{namespace}/"));
        let at = format!("{}/{namespace}{} {field}", self.kind, self.name);
        Failure::in_resource(at.trim_end(), message)
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

    fn pool(json: &str) -> Resource {
        Resource {
            api_version: "projectcalico.org/v3".into(),
            kind: "IPPool".into(),
            namespace: None,
            name: "pool4".into(),
            json: json.into(),
        }
    }

    #[test]
    fn a_resource_is_read_as_a_type() {
        let resource = pool(r#"{"kind":"IPPool","spec":{"cidr":"10.0.0.0/8","other":1}}"#);
        assert_eq!(resource.read::<Pool>().unwrap().spec.cidr, "10.0.0.0/8");
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        let Failure::Resource(problem) = pool(r#"{"spec":{"cidr":7}}"#).read::<Pool>().unwrap_err() else {
            panic!("refused, but not as a resource")
        };
        assert_eq!(problem.where_, "IPPool/pool4 spec.cidr");
        assert!(problem.message.contains("expected a string"), "{}", problem.message);
    }
}
