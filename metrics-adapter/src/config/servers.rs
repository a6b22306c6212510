//! The metrics servers that the operator configured. A tenant's object names one of them and cannot name any other.

use std::collections::BTreeMap;

use super::is_dns_name;
use crate::collect::prometheus::{Endpoint, EndpointError};

/// Longest name of a server.
const MAX_NAME: usize = 63;

/// Metrics servers by the operator's names for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers(BTreeMap<String, Endpoint>);

/// A flag that names no server. The URL is not repeated: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServersError {
    /// It has no name, or no `=`.
    #[error("--prometheus: NAME=URL was expected, with a name of lower-case letters, digits, '-' and '.'")]
    Form,
    /// Its URL cannot be used.
    #[error("--prometheus {name}: {source}")]
    Url {
        /// The server's name.
        name: String,
        /// What is wrong.
        source: EndpointError,
    },
    /// Two servers have the same name.
    #[error("--prometheus {0}: is given twice")]
    Twice(String),
}

impl Servers {
    /// Of flags such as `main=http://prometheus.monitoring:9090`.
    ///
    /// # Errors
    /// The first flag that names no server.
    pub fn parse<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, ServersError> {
        let mut servers = BTreeMap::new();
        for flag in flags {
            let (name, url) = flag
                .split_once('=')
                .filter(|(name, _)| is_dns_name(name, MAX_NAME))
                .ok_or(ServersError::Form)?;
            let endpoint =
                Endpoint::parse(url).map_err(|source| ServersError::Url { name: name.to_owned(), source })?;
            if servers.insert(name.to_owned(), endpoint).is_some() {
                return Err(ServersError::Twice(name.to_owned()));
            }
        }
        Ok(Self(servers))
    }

    /// The server of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Endpoint> {
        self.0.get(name)
    }

    /// What a user should know who named one that there is not.
    pub(crate) fn known(&self) -> String {
        if self.0.is_empty() {
            return "none is configured: start the adapter with --prometheus NAME=URL".to_owned();
        }
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        format!("one of {} was expected", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_flags() {
        let servers = Servers::parse(["main=http://prometheus:9090", "eu.1=http://[::1]/x=y"]).unwrap();
        assert_eq!(servers.get("main"), Some(&Endpoint::parse("http://prometheus:9090").unwrap()));
        assert_eq!(servers.get("other"), None);
        assert_eq!(servers.known(), "one of eu.1, main was expected");
    }

    #[test]
    fn a_flag_that_names_no_server_is_told_without_its_url() {
        let refused = |flags: &[&str]| Servers::parse(flags.iter().copied()).unwrap_err().to_string();
        for flag in ["http://secret", "=http://secret", "a b=http://secret", ""] {
            assert!(refused(&[flag]).starts_with("--prometheus: NAME=URL"), "{flag}");
        }
        assert_eq!(
            refused(&["main=http://me:secret@prometheus"]),
            "--prometheus main: a user or password in the URL is not supported in this version"
        );
        assert_eq!(refused(&["a=http://a", "a=http://b"]), "--prometheus a: is given twice");
    }
}
