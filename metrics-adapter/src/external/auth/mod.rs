//! Who may read: the way in to the API for requests that come from other machines.
//!
//! The cluster's API server stands in front and is believed about who asks, if its certificate says that it is the API
//! server; whoever comes directly shows a certificate or a token of the cluster. Then the cluster is asked whether that
//! user may read. Nothing is decided here: users, groups and rules are the cluster's.
//!
//! What it promises: a header that names a user counts only with the certificate of the front proxy; whatever cannot be
//! found out is an error and never a yes, except that a yes lives on for a minute while the cluster cannot be asked. It
//! never writes anything, and never logs, keeps or repeats a token.
//!
//! ```text
//! peer         who is at the other end of a connection: the certificates that it showed
//! authorities  which authorities may sign them
//! trust        what the cluster says about whom to believe; watch: as it changes
//! identify     certificates and headers to a user, without asking anybody
//! review       what the cluster is asked; cluster: how; memory: its answers, for 10 s
//! guard        all of it, one request at a time
//! ```

mod authorities;
mod cluster;
mod guard;
mod identify;
mod memory;
mod peer;
mod review;
mod trust;
mod user;
mod watch;

use std::fmt;

pub use authorities::AuthoritiesError;
pub use cluster::Cluster;
pub use guard::Guard;
pub(super) use peer::AnyClient;
pub use peer::Peer;
pub use review::{Question, ReviewError, Reviewer};
pub use trust::{Trust, TrustError};
pub use user::User;
pub use watch::{Trusted, Watch};

/// Who is answered.
#[derive(Clone, Default)]
pub enum Access {
    /// Everybody on this machine, and nobody else: nobody is asked who they are, so only loopback addresses are bound.
    #[default]
    LoopbackOnly,
    /// Whoever the cluster knows and lets read. Any address may be bound. The client's own account needs the ClusterRole
    /// `system:auth-delegator`, and in `kube-system` the Role `extension-apiserver-authentication-reader`.
    Delegated(kube::Client),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoopbackOnly => "LoopbackOnly",
            Self::Delegated(_) => "Delegated",
        })
    }
}

#[cfg(test)]
#[path = "../../../../tests/support/authorities.rs"]
mod testing;
