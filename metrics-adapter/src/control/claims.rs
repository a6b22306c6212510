//! Several objects may name one workload. The oldest of those that act has it; the others are told so.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Instant;
use plimsoll::spec::ScaleTargetRef;

use crate::board::ObjectKey;

/// The workloads that objects act upon.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<BTreeMap<ObjectKey, Claim>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    kind: String,
    name: String,
    /// When the object was made, in seconds.
    since: i64,
}

impl Claims {
    /// Notes that the object acts upon `target`. Whose it is, if another that acts upon the same is older.
    pub(super) fn claim(
        &self,
        object: &ObjectKey,
        target: &ScaleTargetRef,
        made: Option<&Instant>,
    ) -> Option<ObjectKey> {
        let since = made.map_or(i64::MAX, |made| made.0.as_second());
        let claim = Claim { kind: target.kind.clone(), name: target.name.clone(), since };
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.insert(object.clone(), claim.clone());
        let mut others = claims.iter().filter(|(other, theirs)| {
            let is_same =
                other.namespace == object.namespace && theirs.kind == claim.kind && theirs.name == claim.name;
            is_same && (theirs.since, &other.name) < (claim.since, &object.name)
        });
        others.next().map(|(other, _)| other.clone())
    }

    /// The object acts upon nothing any more.
    pub(super) fn let_go(&self, object: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn the_oldest_object_has_the_workload_until_it_lets_go() {
        let claims = Claims::default();
        let target = |name: &str| ScaleTargetRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: name.into(),
        };
        let made = |second: i64| Some(Instant(Timestamp::from_second(second).unwrap()));
        let (old, new) = (ObjectKey::new("shop", "old"), ObjectKey::new("shop", "new"));
        assert_eq!(claims.claim(&new, &target("web"), made(20).as_ref()), None);
        assert_eq!(claims.claim(&old, &target("web"), made(10).as_ref()), None);
        assert_eq!(claims.claim(&new, &target("web"), made(20).as_ref()), Some(old.clone()));
        assert_eq!(claims.claim(&new, &target("db"), made(20).as_ref()), None);
        let elsewhere = ObjectKey::new("other", "new");
        assert_eq!(claims.claim(&elsewhere, &target("web"), made(20).as_ref()), None);
        claims.let_go(&old);
        assert_eq!(claims.claim(&new, &target("web"), made(20).as_ref()), None);
    }
}
