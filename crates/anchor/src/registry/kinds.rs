//! The kinds that instances announce: the newest description of each, and its parameters' schema, compiled once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jsonschema::Validator;
use mmn_schema::announce::{KindInfo, KindsDigest, KnownModule, ModuleInfo};
use mmn_schema::id::KindName;
use mmn_schema::problem::Problem;
use serde_json::Value;

/// All kinds that were ever announced to this anchor.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    kinds: BTreeMap<KindName, Kind>,
    /// What instances offer, by what stands for it.
    lists: HashMap<KindsDigest, Arc<[KindInfo]>>,
}

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
/// How many lists of kinds are; whoever has another describes it each time.
const MAX_LISTS: usize = 64;

impl Kinds {
    /// An instance offers a kind. Its newest description counts.
    pub(crate) fn learn(&mut self, info: &KindInfo) {
        let known = self.kinds.get(&info.name);
        let newer = known.is_none_or(|kind| {
            info.version >= kind.info.version
                && (info.params != kind.info.params || info.result != kind.info.result)
                || info.version > kind.info.version
        });
        if newer && (known.is_some() || self.kinds.len() < MAX_KINDS) {
            let validator = jsonschema::validator_for(info.params.as_value())
                .inspect_err(
                    |error| tracing::warn!(kind = %info.name, %error, "the parameters' schema is wrong"),
                )
                .ok();
            let info = KindInfo { unavailable: None, ..info.clone() };
            self.kinds.insert(info.name.clone(), Kind { info, validator });
        }
    }

    /// Has a description hold the schemas that are known, where they are the same: they are most of what there is to keep of
    /// an instance.
    pub(crate) fn share(&self, info: &mut KindInfo) {
        if let Some(known) = self.kinds.get(&info.name) {
            info.params.share(&known.info.params);
            info.result.share(&known.info.result);
        }
    }

    pub(crate) fn get(&self, name: &KindName) -> Option<&Kind> {
        self.kinds.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// Keeps what an instance offers under what stands for it, if that is true.
    pub(crate) fn keep(&mut self, info: &ModuleInfo) {
        if let Some(digest) = &info.digest
            && self.lists.len() < MAX_LISTS
            && !self.lists.contains_key(digest)
            && *digest == KindsDigest::of(&info.kinds)
        {
            let kinds =
                info.kinds.iter().map(|kind| KindInfo { unavailable: None, ..kind.clone() }).collect();
            self.lists.insert(digest.clone(), kinds);
        }
    }

    /// What stands for the lists that are known.
    pub(crate) fn known(&self) -> Vec<KindsDigest> {
        self.lists.keys().cloned().collect()
    }

    /// An instance in full; nothing where its list is not known.
    pub(crate) fn recall(&self, mut known: KnownModule) -> Option<ModuleInfo> {
        let kinds = self
            .lists
            .get(&known.kinds)?
            .iter()
            .map(|kind| KindInfo { unavailable: known.unavailable.remove(&kind.name), ..kind.clone() });
        let kinds = kinds.collect();
        let KnownModule { module, kinds: digest, credits, simulated, .. } = known;
        Some(ModuleInfo { module, kinds, credits, simulated, digest: Some(digest) })
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
    use mmn_schema::announce::{InputShape, SchemaVersion, Unavailable};
    use mmn_schema::outcome::{Reason, code};
    use serde_json::json;

    use super::*;
    use crate::problems;

    fn module(digest: Option<KindsDigest>) -> ModuleInfo {
        let kind = KindInfo {
            name: "ping".parse().unwrap(),
            version: SchemaVersion { major: 1, minor: 0 },
            description: String::new(),
            input: InputShape::Target,
            params: true.into(),
            result: true.into(),
            summary: Vec::new(),
            unavailable: Some(Unavailable { reason: Reason::new(code::UNPRIVILEGED), mend: None }),
        };
        ModuleInfo { module: "packet".into(), kinds: vec![kind], credits: Some(7), simulated: false, digest }
    }

    #[test]
    fn a_list_is_recalled_as_it_was_told() {
        let mut kinds = Kinds::default();
        let told = module(Some(KindsDigest::of(&module(None).kinds)));
        let known = |told: &ModuleInfo, digest: &KindsDigest| KnownModule {
            module: told.module.clone(),
            kinds: digest.clone(),
            unavailable: told
                .kinds
                .iter()
                .filter_map(|kind| Some((kind.name.clone(), kind.unavailable.clone()?)))
                .collect(),
            credits: told.credits,
            simulated: told.simulated,
        };
        let digest = told.digest.clone().unwrap();
        assert_eq!(kinds.recall(known(&told, &digest)), None);
        kinds.keep(&told);
        assert_eq!(kinds.known(), std::slice::from_ref(&digest));
        assert_eq!(kinds.recall(known(&told, &digest)), Some(told.clone()));
        // Nobody passes kinds of its own off as those of others.
        let others = KindsDigest::of(&[]);
        kinds.keep(&ModuleInfo { digest: Some(others.clone()), ..told.clone() });
        assert_eq!(kinds.recall(known(&told, &others)), None);
    }

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
