//! Users, as Kubernetes knows them.

use std::collections::BTreeMap;

/// Every user whose name was proven is in this group.
const AUTHENTICATED: &str = "system:authenticated";
/// The others are in this one.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those who gave none.
const ANONYMOUS: &str = "system:anonymous";
/// Those whom nothing is refused, and about whom nobody is asked.
const MASTERS: &str = "system:masters";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The name, such as `system:serviceaccount:kube-system:horizontal-pod-autoscaler`.
    pub name: String,
    /// An identifier that is not given to another user of the same name later.
    pub uid: Option<String>,
    /// Groups that the user is in.
    pub groups: Vec<String>,
    /// Whatever else authorizers may want to know.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Somebody who gave no name.
    pub(super) fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// The user, of whom it is proven who it is: a member of `system:authenticated`. Some of the API server's own requests
    /// come without any group. It may also pass on somebody who gave no name; that stays so.
    pub(super) fn proven(mut self) -> Self {
        let told = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
        if !self.is_anonymous() && !self.groups.iter().any(told) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether no name was given.
    pub(super) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Whether nothing is refused to the user.
    pub(super) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(name: &str, groups: &[&str]) -> Vec<String> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        User { name: name.to_owned(), groups, ..User::default() }.proven().groups
    }

    #[test]
    fn whoever_is_proven_is_in_the_group_of_those() {
        assert_eq!(groups("system:aggregator", &[]), [AUTHENTICATED]);
        assert_eq!(groups("u", &["dev", AUTHENTICATED]), ["dev", AUTHENTICATED]);
    }

    #[test]
    fn nobody_who_is_passed_on_stays_nobody() {
        assert_eq!(groups(ANONYMOUS, &[UNAUTHENTICATED]), [UNAUTHENTICATED]);
        assert_eq!(groups("u", &[UNAUTHENTICATED]), [UNAUTHENTICATED]);
        assert!(groups(ANONYMOUS, &[]).is_empty());
    }
}
