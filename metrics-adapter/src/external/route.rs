//! Which of the paths is asked for.
//!
//! Apart from the answers, so that a check of who may read what can stand between the two.

/// The API group that is served.
pub const GROUP: &str = "external.metrics.k8s.io";
/// The one version of [`GROUP`] that is served.
pub const VERSION: &str = "v1beta1";
/// Both, as `apiVersion` holds them.
pub(super) const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// The API group and the resource of the objects that say how workloads scale.
pub(super) const AUTOSCALERS_GROUP: &str = "autoscaling.plimsoll.dev";
/// See [`AUTOSCALERS_GROUP`].
pub(super) const AUTOSCALERS: &str = "loadawareautoscalers";

/// A path that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/`: the list of paths.
    Paths,
    /// `/healthz` and `/livez`.
    Live,
    /// `/readyz`.
    Ready,
    /// `/console`: the page for people, which holds nobody's data.
    Console,
    /// `/console/objects`: all autoscalers that whoever asks may read.
    Objects,
    /// `/console/objects/NAMESPACE/NAME`: one of them.
    Object {
        /// Not empty.
        namespace: &'a str,
        /// Not empty.
        name: &'a str,
    },
    /// `/apis`: the groups, in one of three formats.
    Groups,
    /// `/apis/GROUP`.
    Group,
    /// `/apis/GROUP/VERSION`: the resources.
    Resources,
    /// `/apis/GROUP/VERSION/namespaces/NAMESPACE/METRIC`.
    Metric {
        /// Not empty; whether it exists is not known here.
        namespace: &'a str,
        /// Not empty; whether there is such a metric is not known here.
        metric: &'a str,
    },
}

impl<'a> Route<'a> {
    /// The route of a request's path. Percent signs stay as they are: no name that is served holds one.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match segments[..] {
            [""] => Some(Self::Paths),
            ["healthz" | "livez"] => Some(Self::Live),
            ["readyz"] => Some(Self::Ready),
            ["console"] => Some(Self::Console),
            ["console", "objects"] => Some(Self::Objects),
            ["console", "objects", namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                Some(Self::Object { namespace, name })
            }
            ["apis"] => Some(Self::Groups),
            ["apis", GROUP] => Some(Self::Group),
            ["apis", GROUP, VERSION] => Some(Self::Resources),
            ["apis", GROUP, VERSION, "namespaces", namespace, metric]
                if !namespace.is_empty() && !metric.is_empty() =>
            {
                Some(Self::Metric { namespace, metric })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_one_segment_below_one_namespace() {
        let base = "/apis/external.metrics.k8s.io/v1beta1";
        assert_eq!(
            Route::of(&format!("{base}/namespaces/shop/metricsqps")),
            Some(Route::Metric { namespace: "shop", metric: "metricsqps" })
        );
        for path in ["/namespaces", "/namespaces/shop", "/namespaces/shop/", "/namespaces//metricsqps", "/m"]
        {
            assert_eq!(Route::of(&format!("{base}{path}")), None, "{path}");
        }
        assert_eq!(Route::of(&format!("{base}/namespaces/shop/metricsqps/more")), None);
    }

    #[test]
    fn the_api_version_is_the_group_and_the_version() {
        assert_eq!(GROUP_VERSION, format!("{GROUP}/{VERSION}"));
    }

    #[test]
    fn other_groups_and_versions_are_not_served() {
        for path in ["/apis/apps", "/apis/external.metrics.k8s.io/v1", "/api", "/openapi/v2", "apis", "*", ""]
        {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
