//! The metrics servers that objects may name, as flags.

use clap::Args;

use crate::config::{Servers, ServersError};

#[derive(Debug, Args)]
pub(super) struct ServerFlags {
    /// A server with Prometheus' API that objects may name as their source, as it can be reached from here, such as
    /// main=http://prometheus.monitoring:9090. May be given several times.
    #[arg(long, env = "PLIMSOLL_PROMETHEUS", hide_env_values = true, value_name = "NAME=URL")]
    prometheus: Vec<String>,

    /// Certificates of the authorities to trust for one of them whose URL is https, as PEM. Default: those that the machine trusts.
    #[arg(long, value_name = "NAME=FILE")]
    prometheus_ca_file: Vec<String>,

    /// A bearer's token to show to one of them; read anew for each question.
    #[arg(long, value_name = "NAME=FILE")]
    prometheus_token_file: Vec<String>,
}

impl ServerFlags {
    pub(super) fn servers(&self) -> Result<Servers, ServersError> {
        fn each(flags: &[String]) -> impl Iterator<Item = &str> {
            flags.iter().map(String::as_str)
        }
        let Self { prometheus, prometheus_ca_file, prometheus_token_file } = self;
        Servers::with(each(prometheus), each(prometheus_ca_file), each(prometheus_token_file))
    }
}
