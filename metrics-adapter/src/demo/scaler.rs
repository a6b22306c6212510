//! The HorizontalPodAutoscaler of the demo: the core's model of it, fed by the adapter's HTTPS API.

use std::collections::BTreeMap;

use plimsoll::hpa::{FetchError, Hpa, HpaSpec, MetricSpec, Observed, Samples, Settings, ValueTarget};
use plimsoll::spec::Spec;
use plimsoll::units::{Quantity, Time};

use super::world::World;
use crate::board::ObjectKey;
use crate::client::Client;
use crate::external::Metric;

/// One HPA and its connection to the adapter.
#[derive(Debug)]
pub(super) struct Scaler {
    hpa: Hpa,
    key: ObjectKey,
    client: Client,
}

/// What one round of the HPA came to.
#[derive(Debug)]
pub(super) struct Synced {
    /// What the adapter answered: replicas wanted, or why it does not know.
    pub(super) wanted: Result<f64, String>,
}

impl Scaler {
    /// As the controller would create it: the replicas that Plimsoll wants, one pod for each, and no tolerance.
    pub(super) fn new(spec: &Spec, key: ObjectKey, client: Client) -> Self {
        let one = Quantity::from_milli(1000);
        let metric = MetricSpec::External {
            metric: Metric::DesiredReplicas.name().to_owned(),
            selector: None,
            target: ValueTarget::AverageValue(one),
        };
        let hpa = HpaSpec {
            min_replicas: i32::try_from(spec.min_replicas).ok(),
            max_replicas: i32::try_from(spec.max_replicas).unwrap_or(i32::MAX),
            metrics: vec![metric],
            behavior: Some(spec.behavior.clone().unwrap_or_default().exact()),
        };
        Self { hpa: Hpa::new(hpa, Settings::default()), key, client }
    }

    /// Asks the adapter, decides as the HPA does, and sets the replicas.
    pub(super) async fn sync(&mut self, now: Time, world: &World) -> Synced {
        let answer = self.client.values(Metric::DesiredReplicas, &self.key).await;
        let values = answer.map_err(|error| FetchError::new(error.to_string()));
        let wanted = match &values {
            Ok(values) => Ok(values.iter().map(|value| value.as_f64()).sum()),
            Err(error) => Err(error.to_string()),
        };
        let external = BTreeMap::from([(Metric::DesiredReplicas.name().to_owned(), values)]);
        let (asked, there) = world.scale();
        let observed = Observed {
            spec_replicas: i32::try_from(asked).unwrap_or(i32::MAX),
            status_replicas: i32::try_from(there).unwrap_or(i32::MAX),
            ..Observed::default()
        };
        let samples = Samples { external, ..Samples::default() };
        let done = self.hpa.reconcile(now, &observed, &samples);
        if done.rescaled {
            world.set_replicas(u32::try_from(done.replicas).unwrap_or_default());
        }
        Synced { wanted }
    }
}
