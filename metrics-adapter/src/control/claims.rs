//! Several objects may name one workload. The oldest of those that act has it; the others are told so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plimsoll::spec::{Actuation, Mode};

use super::hpa;
use crate::board::ObjectKey;
use crate::resource::LoadAwareAutoscaler;

/// The objects that there are, and can be read.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<BTreeMap<ObjectKey, Arc<LoadAwareAutoscaler>>>);

impl Claims {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Arc<LoadAwareAutoscaler>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an object is like; none if it is gone, or cannot be read.
    pub(super) fn note(&self, key: &ObjectKey, object: Option<&Arc<LoadAwareAutoscaler>>) {
        match object {
            Some(object) => drop(self.objects().insert(key.clone(), Arc::clone(object))),
            None => drop(self.objects().remove(key)),
        }
    }

    /// The oldest of the others that act upon the workload of `object`, if that is older. Objects of one second go by their names.
    pub(super) fn rival(&self, key: &ObjectKey, object: &LoadAwareAutoscaler) -> Option<ObjectKey> {
        if !acts(object) {
            return None;
        }
        let target = &object.spec.0.scale_target_ref;
        let age = |key: &ObjectKey, object: &LoadAwareAutoscaler| {
            let made = object.metadata.creation_timestamp.as_ref();
            (made.map_or(i64::MAX, |made| made.0.as_second()), key.name.clone())
        };
        let objects = self.objects();
        let others = objects.iter().filter(|(other, theirs)| {
            other.namespace == key.namespace
                && *other != key
                && hpa::is_same(&theirs.spec.0.scale_target_ref, target)
                && age(other, theirs) < age(key, object)
                && acts(theirs)
                && theirs.spec.0.check().is_ok()
        });
        others.min_by_key(|(other, theirs)| age(other, theirs)).map(|(other, _)| other.clone())
    }
}

/// Whether an object moves replicas.
fn acts(object: &LoadAwareAutoscaler) -> bool {
    let spec = &object.spec.0;
    spec.mode != Mode::Observe && spec.actuation != Actuation::None
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    /// An object called `name`, made at `second`, that acts upon `web` unless `more` says otherwise.
    fn object(name: &str, second: i64, more: serde_json::Value) -> (ObjectKey, Arc<LoadAwareAutoscaler>) {
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 10,
            "mode": "Auto",
            "load": {"histogram": "d", "weights": {"fixed": {}}},
            "target": {"metricsQPSPerPod": "10"},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut object = LoadAwareAutoscaler::new(name, serde_json::from_value(spec).unwrap());
        object.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
        (ObjectKey::new("shop", name), Arc::new(object))
    }

    /// Who has the workload instead of a younger object, given an older one that is as `more` says.
    fn rival(more: serde_json::Value) -> Option<String> {
        let claims = Claims::default();
        let (old, theirs) = object("old", 10, more);
        let (new, ours) = object("new", 20, json!({}));
        claims.note(&old, Some(&theirs));
        claims.note(&new, Some(&ours));
        assert_eq!(claims.rival(&old, &theirs), None, "nobody is older");
        let rival = claims.rival(&new, &ours);
        claims.note(&old, None);
        assert_eq!(claims.rival(&new, &ours), None, "the older one is gone");
        rival.map(|rival| rival.name)
    }

    #[test]
    fn the_oldest_object_that_acts_has_the_workload() {
        let target = |api_version: &str, name: &str| json!({"scaleTargetRef": {"apiVersion": api_version, "kind": "Deployment", "name": name}});
        assert_eq!(rival(json!({})).as_deref(), Some("old"));
        assert_eq!(rival(target("apps/v1beta1", "web")).as_deref(), Some("old"), "it is the same workload");
        for other in [
            target("apps/v1", "db"),
            target("example.com/v1", "web"),
            json!({"mode": "Observe"}),
            json!({"actuation": "None"}),
            json!({"maxReplicas": 0}),
        ] {
            assert_eq!(rival(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn of_one_second_the_name_decides() {
        let claims = Claims::default();
        let (a, one) = object("a", 10, json!({}));
        let (b, other) = object("b", 10, json!({}));
        claims.note(&a, Some(&one));
        claims.note(&b, Some(&other));
        assert_eq!(claims.rival(&a, &one), None);
        assert_eq!(claims.rival(&b, &other), Some(a));
    }
}
