//! `NAME:key=value,…`

use std::collections::BTreeMap;
use std::str::FromStr;

use super::PolicyError;

/// The knobs of one policy, of which each is asked for once.
pub(super) struct Knobs {
    policy: String,
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Knobs {
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        let (policy, list) = text.split_once(':').unwrap_or((text, ""));
        let mut given = BTreeMap::new();
        for pair in list.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| PolicyError::Syntax(text.to_owned()))?;
            let key = key.trim().to_owned();
            if given.insert(key.clone(), value.trim().to_owned()).is_some() {
                return Err(PolicyError::Twice { policy: policy.to_owned(), knob: key });
            }
        }
        Ok(Self { policy: policy.to_owned(), given, known: Vec::new() })
    }

    pub(super) fn policy(&self) -> &str {
        &self.policy
    }

    /// The value of a knob, if it is set.
    pub(super) fn get<T: FromStr>(
        &mut self,
        knob: &'static str,
        expected: &'static str,
        fits: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, PolicyError> {
        self.known.push(knob);
        let Some(value) = self.given.remove(knob) else { return Ok(None) };
        match value.parse::<T>() {
            Ok(parsed) if fits(&parsed) => Ok(Some(parsed)),
            _ => Err(PolicyError::Value {
                policy: self.policy.clone(),
                knob: knob.to_owned(),
                value,
                expected,
            }),
        }
    }

    /// A number above zero.
    pub(super) fn positive(&mut self, knob: &'static str) -> Result<Option<f64>, PolicyError> {
        self.get(knob, "a number between 0.001 and 10^9", |n: &f64| (0.001..=1e9).contains(n))
    }

    /// A utilization in whole percent.
    pub(super) fn utilization(&mut self) -> Result<Option<i32>, PolicyError> {
        self.get("utilization", "a percentage from 1 to 100", |n| (1..=100).contains(n))
    }

    /// All that is set must have been asked for.
    pub(super) fn finish(self) -> Result<(), PolicyError> {
        match self.given.into_keys().next() {
            Some(knob) => Err(PolicyError::Knob { policy: self.policy, knob, known: self.known.join(", ") }),
            None => Ok(()),
        }
    }
}
