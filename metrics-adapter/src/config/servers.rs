//! The metrics servers that the operator configured. A tenant's object names one of them and cannot name any other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::is_dns_name;
use crate::collect::prometheus::{Endpoint, EndpointError};

/// Longest name of a server.
const MAX_NAME: usize = 63;

/// Metrics servers by the operator's names for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers(BTreeMap<String, Endpoint>);

/// A flag that names no server. The URL is not repeated: there may be a password in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServersError {
    /// It has no name, or no `=`.
    #[error("--prometheus: NAME=URL was expected, with a name of lower-case letters, digits, '-' and '.'")]
    Form,
    /// A file for a server is not named so.
    #[error("--{0}: NAME=FILE was expected, with the name of a server that --prometheus gives")]
    File(&'static str),
    /// The authorities' file cannot be read.
    #[error("--{CA_FLAG} {name}: {path}: {source}")]
    Unreadable {
        /// The server's name.
        name: String,
        /// The file.
        path: String,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// Its URL, or what is given beside it, cannot be used.
    #[error("--prometheus {name}: {source}")]
    Url {
        /// The server's name.
        name: String,
        /// What is wrong.
        source: EndpointError,
    },
    /// There is no server of the name.
    #[error("--server: there is no server {0:?}: {1}")]
    Unknown(String, String),
    /// There is none.
    #[error("give the metrics server: --prometheus main=URL")]
    None,
    /// There are several.
    #[error("several servers are given: --server says which; {0}")]
    Which(String),
    /// Two servers, or two files for one, have the same name.
    #[error("--{0} {1}: is given twice")]
    Twice(&'static str, String),
}

/// Flags without their dashes.
const CA_FLAG: &str = "prometheus-ca-file";
const TOKEN_FLAG: &str = "prometheus-token-file";

/// Files by the servers' names.
fn files<'a>(
    flag: &'static str,
    given: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<&'a str, &'a str>, ServersError> {
    let mut files = BTreeMap::new();
    for one in given {
        let (name, file) = one.split_once('=').ok_or(ServersError::File(flag))?;
        if files.insert(name, file).is_some() {
            return Err(ServersError::Twice(flag, name.to_owned()));
        }
    }
    Ok(files)
}

impl Servers {
    /// Of flags such as `main=http://prometheus.monitoring:9090`.
    ///
    /// # Errors
    /// The first flag that names no server.
    pub fn parse<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, ServersError> {
        Self::with(flags, [], [])
    }

    /// The same, with flags that name, for some of them, a file of authorities to trust (`main=/etc/prometheus/ca.crt`) and one with a
    /// bearer's token. The authorities are read once; the token, each time.
    ///
    /// # Errors
    /// The first flag that names no server, or no file.
    pub fn with<'a>(
        flags: impl IntoIterator<Item = &'a str>,
        authorities: impl IntoIterator<Item = &'a str>,
        tokens: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ServersError> {
        let (mut authorities, mut tokens) = (files(CA_FLAG, authorities)?, files(TOKEN_FLAG, tokens)?);
        let mut servers = BTreeMap::new();
        for flag in flags {
            let (name, url) = flag
                .split_once('=')
                .filter(|(name, _)| is_dns_name(name, MAX_NAME))
                .ok_or(ServersError::Form)?;
            if servers.contains_key(name) {
                return Err(ServersError::Twice("prometheus", name.to_owned()));
            }
            let read = |path: &str| {
                std::fs::read(path).map_err(|source| ServersError::Unreadable {
                    name: name.to_owned(),
                    path: path.to_owned(),
                    source: Arc::new(source),
                })
            };
            let authorities = authorities.remove(name).map(read).transpose()?;
            let token = tokens.remove(name).map(Path::new);
            let endpoint = Endpoint::with(url, authorities.as_deref(), token)
                .map_err(|source| ServersError::Url { name: name.to_owned(), source })?;
            servers.insert(name.to_owned(), endpoint);
        }
        match (authorities.is_empty(), tokens.is_empty()) {
            (true, true) => Ok(Self(servers)),
            (false, _) => Err(ServersError::File(CA_FLAG)),
            (true, false) => Err(ServersError::File(TOKEN_FLAG)),
        }
    }

    /// The server of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Endpoint> {
        self.0.get(name)
    }

    /// The server of this name; without one the only one.
    ///
    /// # Errors
    /// When it is not clear which, or there is none.
    pub fn one(&self, name: Option<&str>) -> Result<&Endpoint, ServersError> {
        let mut all = self.0.values();
        match (name, all.next(), all.next()) {
            (Some(name), ..) => {
                self.get(name).ok_or_else(|| ServersError::Unknown(name.to_owned(), self.known()))
            }
            (None, Some(only), None) => Ok(only),
            (None, None, _) => Err(ServersError::None),
            (None, Some(_), Some(_)) => Err(ServersError::Which(self.known())),
        }
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
    fn files_are_for_servers_that_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none");
        let none = format!("main={}", none.display());
        let refused = |ca: &[&str], token: &[&str]| {
            let (ca, token) = (ca.iter().copied(), token.iter().copied());
            Servers::with(["main=https://prometheus"], ca, token).unwrap_err().to_string()
        };
        assert!(refused(&[&none], &[]).starts_with("--prometheus-ca-file main: "));
        assert!(refused(&["main"], &[]).starts_with("--prometheus-ca-file: NAME=FILE was expected"));
        assert!(
            refused(&[], &["other=token"]).starts_with("--prometheus-token-file: NAME=FILE was expected")
        );
        assert_eq!(refused(&[], &["main=a", "main=b"]), "--prometheus-token-file main: is given twice");
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let error = refused(&[&format!("main={}", empty.display())], &[]);
        assert!(error.contains("PEM was expected"), "{error}");
    }

    #[test]
    fn a_flag_that_names_no_server_is_told_without_its_url() {
        let refused = |flags: &[&str]| Servers::parse(flags.iter().copied()).unwrap_err().to_string();
        for flag in ["http://secret", "=http://secret", "a b=http://secret", ""] {
            assert!(refused(&[flag]).starts_with("--prometheus: NAME=URL"), "{flag}");
        }
        assert_eq!(
            refused(&["main=http://me:secret@prometheus"]),
            "--prometheus main: a user or password in the URL would be seen by many: give a token in a file"
        );
        assert_eq!(refused(&["a=http://a", "a=http://b"]), "--prometheus a: is given twice");
    }
}
