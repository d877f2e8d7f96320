//! The kinds that instances announce: the newest description of each, and its parameters' schema, compiled once.

use std::collections::BTreeMap;

use jsonschema::Validator;
use mmn_schema::announce::KindInfo;
use mmn_schema::id::KindName;
use mmn_schema::problem::Problem;
use serde_json::Value;

/// All kinds that were ever announced to this anchor.
#[derive(Debug, Default)]
pub(crate) struct Kinds(BTreeMap<KindName, Kind>);

/// One kind.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) info: KindInfo,
    /// Absent when the schema itself is wrong: then the module judges the parameters.
    validator: Option<Validator>,
}

/// How many errors of one request are told.
const MAX_ERRORS: usize = 20;
/// How many kinds are remembered.
const MAX_KINDS: usize = 1000;

impl Kinds {
    /// An instance offers a kind. Its newest description counts.
    pub(crate) fn learn(&mut self, info: &KindInfo) {
        let known = self.0.get(&info.name);
        let newer = known.is_none_or(|kind| {
            info.version >= kind.info.version
                && (info.params != kind.info.params || info.result != kind.info.result)
                || info.version > kind.info.version
        });
        if newer && (known.is_some() || self.0.len() < MAX_KINDS) {
            let validator = jsonschema::validator_for(info.params.as_value())
                .inspect_err(
                    |error| tracing::warn!(kind = %info.name, %error, "the parameters' schema is wrong"),
                )
                .ok();
            let info = KindInfo { unavailable: None, ..info.clone() };
            self.0.insert(info.name.clone(), Kind { info, validator });
        }
    }

    /// Has a description hold the schemas that are known, where they are the same: they are most of what there is to keep of
    /// an instance.
    pub(crate) fn share(&self, info: &mut KindInfo) {
        if let Some(known) = self.0.get(&info.name) {
            info.params.share(&known.info.params);
            info.result.share(&known.info.result);
        }
    }

    pub(crate) fn get(&self, name: &KindName) -> Option<&Kind> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.values()
    }
}

impl Kind {
    /// Points at each parameter that the kind's schema does not allow.
    pub(crate) fn check(&self, params: &Value, mut problem: Problem) -> Problem {
        let Some(validator) = &self.validator else {
            return problem;
        };
        for error in validator.iter_errors(params).take(MAX_ERRORS) {
            problem = problem.at(format!("/params{}", error.instance_path()), &error);
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use mmn_schema::announce::{InputShape, SchemaVersion};
    use serde_json::json;

    use super::*;
    use crate::problems;

    #[test]
    fn errors_point_at_the_parameter() {
        let schema = json!({
            "type": "object",
            "properties": { "count": { "type": "integer", "maximum": 5 } },
            "additionalProperties": false
        });
        let mut kinds = Kinds::default();
        kinds.learn(&KindInfo {
            name: "ping".parse().unwrap(),
            version: SchemaVersion { major: 1, minor: 0 },
            description: String::new(),
            input: InputShape::Target,
            params: schema.try_into().unwrap(),
            result: true.into(),
            summary: Vec::new(),
            unavailable: None,
        });
        let kind = kinds.get(&"ping".parse().unwrap()).unwrap();
        let pointers = |params: Value| -> Vec<String> {
            kind.check(&params, problems::invalid()).errors.into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(pointers(json!({ "count": 5 })), [] as [&str; 0]);
        assert_eq!(pointers(json!({ "count": 6 })), ["/params/count"]);
        assert_eq!(pointers(json!({ "cuont": 1 })), ["/params"]);
    }
}
