//! Who may read the API, and certificates that change while it is read.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use plimsoll_adapter::run::Options;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Named;
use crate::objects::{NAME, SHOP, SYSTEM, autoscaler};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] = &[
    ("who has no right to read a load is refused, and nobody gets in by a header", refused),
    ("the front proxy's authority and the serving certificate are exchanged while an HPA follows", exchanged),
];

const PATH: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/metricsqps\
    ?labelSelector=plimsoll.dev%2Fautoscaler%3Dcheckout";

fn refused(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.until_condition("Ready", "True", "Deciding").await;
        let token = token_of_a_new_account(scene).await;
        let bearer = format!("Bearer {token}");

        // Through the API server, as kubectl would.
        let mut config = scene.plane.config().await;
        config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        let visitor = kube::Client::try_from(config).unwrap();
        let read = async |client: &kube::Client| {
            let request = Request::get(PATH).body(Vec::new()).unwrap();
            match client.request_text(request).await {
                Ok(text) => (200, text),
                Err(kube::Error::Api(status)) => (status.code, status.message),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(read(&visitor).await.0, 403);
        let (code, text) = read(&scene.client).await;
        assert!(code == 200 && text.contains("\"metricsqps\""), "{code} {text}");

        // Past the API server, straight at the adapter.
        let direct =
            async |headers: &[(&str, &str)], certificate| get(scene.api, PATH, headers, certificate).await;
        let anonymous = direct(&[], None).await;
        assert_eq!(anonymous.0, 403);
        assert!(anonymous.1.contains("system:anonymous"), "{}", anonymous.1);
        let admin = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")];
        assert_eq!(
            direct(&admin, None).await.0,
            403,
            "a header without the front proxy's certificate is nothing"
        );
        let (authority, _) = new_authority("front-proxy-ca");
        let made_up = signed("front-proxy-client", &authority);
        assert_eq!(direct(&admin, Some(made_up)).await.0, 403, "nor with one of another authority");
        assert_eq!(direct(&[("Authorization", "Bearer nonsense")], None).await.0, 401);
        let known = direct(&[("Authorization", &bearer)], None).await;
        assert_eq!(known.0, 403);
        assert!(known.1.contains("system:serviceaccount:default:visitor"), "{}", known.1);
        let real = of_the_front_proxy(scene);
        let visitor_header = [("X-Remote-User", "system:serviceaccount:default:visitor")];
        assert_eq!(
            direct(&visitor_header, Some(real)).await.0,
            403,
            "the front proxy says who, not what they may"
        );

        grant(scene, "reads-loads", ("external.metrics.k8s.io", "metricsqps")).await;
        let allowed = async || (direct(&[("Authorization", &bearer)], None).await.0 == 200).then_some(());
        scene.until("who is given the right may read", allowed).await;
        assert_eq!(read(&visitor).await.0, 200);

        // The console is on the same port, and asks for another right.
        let signed_on = [("Authorization", bearer.as_str())];
        let console = async |path: &str, headers: &[(&str, &str)]| get(scene.api, path, headers, None).await;
        assert_eq!(console("/console", &[]).await.0, 200, "the page itself is for everybody");
        assert_eq!(console("/console/objects", &[]).await.0, 401);
        let (code, text) = console("/console/objects", &signed_on).await;
        assert!(code == 200 && !text.contains("checkout"), "{code} {text}");
        let refused = console("/console/objects/default/checkout", &signed_on).await;
        assert!(refused.0 == 403 && refused.1.contains("cannot list resource"), "{refused:?}");
        grant(scene, "sees-autoscalers", ("autoscaling.plimsoll.dev", "loadawareautoscalers")).await;
        let listed = async || {
            let (code, text) = console("/console/objects", &signed_on).await;
            (code == 200 && text.contains("\"name\":\"checkout\"")).then_some(())
        };
        scene.until("who may list autoscalers sees them in the console", listed).await;
        assert_eq!(console("/console/objects/default/checkout", &signed_on).await.0, 200);
        assert_eq!(console("/console/objects/kube-system/checkout", &signed_on).await.0, 403);
    })
}

/// A ServiceAccount that may do nothing, and a token of it.
async fn token_of_a_new_account(scene: &Scene) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), SHOP);
    let account = serde_json::from_value(json!({"metadata": {"name": "visitor"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request("visitor", &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

/// Lets the visitor read a resource of a group in the workload's namespace.
async fn grant(scene: &Scene, name: &str, (group, resource): (&str, &str)) {
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": name},
        "rules": [{"apiGroups": [group], "resources": [resource], "verbs": ["get", "list"]}],
    }))
    .unwrap();
    Api::namespaced(scene.client.clone(), SHOP).create(&PostParams::default(), &role).await.unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "visitor", "namespace": SHOP}],
    }))
    .unwrap();
    Api::namespaced(scene.client.clone(), SHOP).create(&PostParams::default(), &binding).await.unwrap();
}

fn exchanged(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        let served = tempfile::tempdir().unwrap();
        let (first, first_pem) = new_authority("first");
        write_served(served.path(), &first);
        let services: Api<APIService> = Api::all(scene.client.clone());
        let registration: APIService = serde_json::from_value(json!({
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "group": "external.metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100, "caBundle": ByteString(first_pem.clone().into()),
                "service": {"namespace": SYSTEM, "name": "plimsoll-adapter", "port": scene.api.port()},
            },
        }))
        .unwrap();
        services.create(&PostParams::default(), &registration).await.unwrap();
        let options =
            Options { cert_dir: Some(served.path().to_owned()), registers: false, ..scene.options() };
        scene.start_adapter_with(options);
        scene.apply(&autoscaler(NAME, json!({}))).await;
        scene.load.set(55.0);
        scene.until_replicas(6).await;

        // The serving certificate: both authorities are trusted, then the new one shows.
        let (second, second_pem) = new_authority("second");
        trust(&services, &format!("{first_pem}{second_pem}")).await;
        write_served(served.path(), &second);
        let second_shown = async || (issuer(scene.api).await? == "second").then_some(());
        scene.until("the new certificate is shown", second_shown).await;
        trust(&services, &second_pem).await;
        scene.load.set(75.0);
        scene.until_replicas(8).await;

        // The front proxy's authority: both are told, then its certificate is of the new one.
        let file = scene.plane.certificate("front-proxy-ca.crt");
        let old = std::fs::read_to_string(&file).unwrap();
        let (proxy, proxy_pem) = new_authority("front-proxy-ca");
        std::fs::write(&file, format!("{old}{proxy_pem}")).unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(scene.client.clone(), "kube-system");
        let is_told = async || {
            let map = maps.get("extension-apiserver-authentication").await.unwrap();
            map.data.unwrap()["requestheader-client-ca-file"].contains(proxy_pem.trim()).then_some(())
        };
        scene.until("both authorities are told", is_told).await;
        let (certificate, key) = signed("front-proxy-client", &proxy);
        std::fs::write(scene.plane.certificate("front-proxy-client.key"), key).unwrap();
        std::fs::write(scene.plane.certificate("front-proxy-client.crt"), certificate).unwrap();
        scene.load.set(95.0);
        scene.until_replicas(10).await;
        // The API server itself goes on telling the old one until it expires.
        std::fs::write(&file, &proxy_pem).unwrap();
        scene.load.set(115.0);
        scene.until_replicas(12).await;
    })
}

async fn trust(services: &Api<APIService>, pem: &str) {
    let patch = Patch::Merge(json!({"spec": {"caBundle": ByteString(pem.as_bytes().to_vec())}}));
    services.patch("v1beta1.external.metrics.k8s.io", &PatchParams::default(), &patch).await.unwrap();
}

type Authority = Issuer<'static, KeyPair>;

fn new_authority(name: &str) -> (Authority, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// A client's certificate and key, as PEM.
fn signed(name: &str, by: &Authority) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn of_the_front_proxy(scene: &Scene) -> (String, String) {
    let read = |file| std::fs::read_to_string(scene.plane.certificate(file)).unwrap();
    (read("front-proxy-client.crt"), read("front-proxy-client.key"))
}

/// A serving certificate for the adapter's Service.
fn write_served(dir: &Path, by: &Authority) {
    let params = CertificateParams::new(vec![format!("plimsoll-adapter.{SYSTEM}.svc")]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
}

/// Whoever signed the certificate that is shown at `address`.
async fn issuer(address: SocketAddr) -> Option<String> {
    let stream = connect(address, None).await;
    let (_, session) = stream.get_ref();
    let (_, certificate) = x509_parser::parse_x509_certificate(session.peer_certificates()?.first()?).ok()?;
    certificate.issuer().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(address: SocketAddr, certificate: Option<(String, String)>) -> Tls {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let config = match certificate {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            use rustls::pki_types::pem::PemObject;
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            config
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Status and body of a GET at `address`.
async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    certificate: Option<(String, String)>,
) -> (u16, String) {
    let stream = connect(address, certificate).await;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// What is shown is looked at, not judged.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
