//! The documents by which the aggregator, `kubectl` and Helm find the API.
//!
//! One placeholder stands for all metrics. A HorizontalPodAutoscaler does not look here, an empty list makes every
//! client print a warning, and a list that changed with the metrics would empty the discovery caches of all of them.

use hyper::header::HeaderMap;

use super::negotiate::Format;
use super::reply::{Reply, document};

const PATHS: &str = concat!(
    r#"{"paths":["/apis","/apis/external.metrics.k8s.io","/apis/external.metrics.k8s.io/v1beta1","#,
    r#""/healthz","/livez","/readyz"]}"#
);

/// A group as `APIGroup` and `APIGroupList` hold it, without the opening brace.
macro_rules! group {
    () => {
        concat!(
            r#""name":"external.metrics.k8s.io","#,
            r#""versions":[{"groupVersion":"external.metrics.k8s.io/v1beta1","version":"v1beta1"}],"#,
            r#""preferredVersion":{"groupVersion":"external.metrics.k8s.io/v1beta1","version":"v1beta1"}}"#
        )
    };
}

const GROUP_LIST: &str = concat!(r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"#, group!(), "]}");

const GROUP: &str = concat!(r#"{"kind":"APIGroup","apiVersion":"v1","#, group!());

const RESOURCE_LIST: &str = concat!(
    r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"external.metrics.k8s.io/v1beta1","#,
    r#""resources":[{"name":"externalmetrics","singularName":"","namespaced":true,"#,
    r#""kind":"ExternalMetricValueList","verbs":["get"]}]}"#
);

/// Groups and resources in one; both versions of it have the same fields. `responseKind` stays although its group
/// and version are empty: old clients crash without it.
macro_rules! aggregated {
    ($version:literal) => {
        concat!(
            r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/"#,
            $version,
            r#"","metadata":{},"items":[{"metadata":{"name":"external.metrics.k8s.io"},"#,
            r#""versions":[{"version":"v1beta1","freshness":"Current","resources":[{"resource":"externalmetrics","#,
            r#""responseKind":{"group":"","version":"","kind":"ExternalMetricValueList"},"#,
            r#""scope":"Namespaced","singularResource":"","verbs":["get"]}]}]}]}"#
        )
    };
}

const JSON: &str = "application/json";

/// `/`: what is served.
pub(super) fn paths(request: &HeaderMap) -> Reply {
    document(request, JSON, PATHS)
}

/// `/apis`: the one group, or in the aggregated formats the group with its resource.
pub(super) fn groups(request: &HeaderMap, format: Format) -> Reply {
    let (content_type, text) = match format {
        Format::Json => (JSON, GROUP_LIST),
        Format::DiscoveryV2 => {
            ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", aggregated!("v2"))
        }
        Format::DiscoveryV2Beta1 => (
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            aggregated!("v2beta1"),
        ),
    };
    document(request, content_type, text)
}

/// `/apis/external.metrics.k8s.io`: its versions.
pub(super) fn group(request: &HeaderMap) -> Reply {
    document(request, JSON, GROUP)
}

/// `/apis/external.metrics.k8s.io/v1beta1`: its resources. The aggregator takes the API for available if this answers.
pub(super) fn resources(request: &HeaderMap) -> Reply {
    document(request, JSON, RESOURCE_LIST)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::external::route::Route;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_two_aggregated_formats_differ_in_their_version_only() {
        let mut old = read(aggregated!("v2beta1"));
        old["apiVersion"] = "apidiscovery.k8s.io/v2".into();
        assert_eq!(old, read(aggregated!("v2")));
    }

    #[test]
    fn a_group_in_the_list_is_the_group_alone() {
        let mut alone = read(GROUP);
        alone.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
        assert_eq!(read(GROUP_LIST)["groups"], Value::from(vec![alone]));
    }

    #[test]
    fn every_path_that_is_listed_is_served() {
        for path in read(PATHS)["paths"].as_array().unwrap() {
            assert!(Route::of(path.as_str().unwrap()).is_some(), "{path}");
        }
    }
}
