//! Nodes that terminate TLS: who can connect, who is refused, and how soon (ADR 0017).

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::{Api, OpenError, RawSocket, exchange};
use model::limits;
use protocol::frame::ServerFrame;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tests::authority::{Authority, Issued, trusting_nobody};
use tests::cluster::{Cluster, Environment};
use tests::port::free_port;
use tests::process::{NodeProcess, NodeSetup, program};
use tests::{SOON, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A cluster whose nodes are processes that use TLS, and the authority of their certificates.
pub(crate) struct TlsCluster {
    pub(crate) cluster: Cluster,
    pub(crate) authority: Authority,
}

impl TlsCluster {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
        Self { cluster, authority: Authority::new() }
    }

    pub(crate) fn setup(&self, certificate: Option<Issued>) -> NodeSetup {
        let redis = self.cluster.redis.as_ref().unwrap();
        let plain = NodeSetup::plain(&redis.url(), self.cluster.stack.store_endpoint());
        NodeSetup { certificate, ..plain }
    }

    async fn node(&self) -> NodeProcess {
        NodeProcess::of(&self.setup(Some(self.authority.issue()))).await
    }

    fn api(&self, name: &str) -> Api {
        self.cluster.api_trusting(name, self.authority.trust())
    }

    async fn open(&self, node: &NodeProcess) -> Result<RawSocket, OpenError> {
        RawSocket::open_trusting(&node.url, &[], SOON, &self.authority.trust()).await
    }

    /// The URLs of nodes that clients can be assigned to.
    pub(crate) async fn fleet(&self) -> Vec<String> {
        let fleet = self.cluster.stack.ports().nodes.fleet().await.unwrap();
        fleet.into_iter().map(|node| node.lease.url).collect()
    }
}

fn address(node: &NodeProcess) -> String {
    let rest = node.url.split_once("://").unwrap().1;
    rest.split('/').next().unwrap().to_owned()
}

/// A client's connection and its `ClientHello`, which offers these protocols.
fn hello(protocols: &[&str]) -> (ClientConnection, Vec<u8>) {
    let mut config = trusting_nobody();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    (connection, bytes)
}

/// How long the node keeps a connection open that sends these bytes and nothing more.
async fn left_open(address: &str, said: &[u8]) -> Duration {
    // Starts before the node's own timeout, which starts when it accepts the connection.
    let begun = Instant::now();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    let ended = tokio::time::timeout(SOON, tcp.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "the node never closed it");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_trusts_the_authority_talks_over_tls() {
    let tls = TlsCluster::start().await;
    let node = tls.node().await;
    let api = tls.api("alice");
    eventually("the node is known", SOON, async || api.connect(None).await.is_ok()).await;
    let channel = tls.cluster.group("alice", &["bob"]).await.id;
    let target = api.connect(None).await.unwrap().target;
    assert_eq!(target.url, node.url);
    let mut socket = tls.open(&node).await.unwrap();
    socket.hello(&target.ticket, None).await.unwrap();
    let ready = |frame: &ServerFrame| matches!(frame, ServerFrame::Ready(_));
    assert!(socket.frame_within(SOON, ready).await.is_some());
    // Longer than a TLS record, so that one frame needs several records.
    let text = "x".repeat(limits::MESSAGE_CHARS_MAX);
    for _ in 0..20 {
        api.post_message(&channel, &text, None, None).await.unwrap();
    }
    for _ in 0..20 {
        let message = |frame: &ServerFrame| matches!(frame, ServerFrame::Message { .. });
        assert!(socket.frame_within(SOON, message).await.is_some());
    }
    node.terminate();
    assert_eq!(socket.close_within(SOON).await, Some(1012));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_trusts_a_given_authority() {
    let tls = TlsCluster::start().await;
    let _node = tls.node().await;
    eventually("the node is known", SOON, async || tls.api("alice").connect(None).await.is_ok())
        .await;
    let channel = tls.cluster.group("alice", &["bob"]).await;
    let (url, workspace) = (tls.cluster.url(), tls.cluster.workspace().to_string());
    let listen = |more: &[&str]| {
        let who = ["listen", "--json", "--as", "bob", "--workspace", &workspace, "--url", &url];
        let mut command = Command::new(program("inkwire"));
        command.args(who).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let refused = listen(&["--ca", "/nowhere"]).wait_with_output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert!(said.starts_with("cannot use /nowhere") && said.lines().count() == 1, "{said}");
    let file = tls.authority.file();
    let mut listener = Killed(listen(&["--ca", file.to_str().unwrap()]));
    let out = listener.0.stdout.take().unwrap();
    let heard = std::thread::spawn(move || {
        use std::io::BufRead;
        let lines = std::io::BufReader::new(out).lines();
        lines.map_while(Result::ok).find(|line| line.contains("over TLS"))
    });
    eventually("it hears", SOON, async || {
        tls.api("alice").post_message(&channel.id, "over TLS", None, None).await.unwrap();
        heard.is_finished()
    })
    .await;
    assert!(heard.join().unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_reports_that_a_port_speaks_tls() {
    let tls = TlsCluster::start().await;
    let node = tls.node().await;
    let host = address(&node);
    let url = format!("http://{host}");
    let asked = Command::new(program("inkwire"))
        .args(["channels", "--token", "x", "--url", &url])
        .output()
        .unwrap();
    let said = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(69), "{said}");
    let expected = format!("cannot reach {url}: that port speaks TLS: use https://{host}\n");
    assert_eq!(said, expected);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_trust_or_without_tls_are_refused() {
    let tls = TlsCluster::start().await;
    let node = tls.node().await;
    let stranger = RawSocket::open(&node.url, &[], SOON).await.unwrap_err();
    assert!(matches!(stranger, OpenError::Unreachable { .. }), "{stranger:?}");
    let other = Authority::new();
    let misled = RawSocket::open_trusting(&node.url, &[], SOON, &other.trust()).await.unwrap_err();
    assert!(matches!(misled, OpenError::Unreachable { .. }), "{misled:?}");
    // Plain HTTP gets an answer that explains it; any other plain text is cut off.
    let plain =
        exchange(&node.url, b"GET /socket HTTP/1.1\r\nHost: x\r\n\r\n", SOON).await.unwrap();
    let plain = String::from_utf8(plain).unwrap();
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.ends_with("https:// or wss://"), "{plain}");
    for garbage in [&b"\x00\x01\x02\x03"[..], b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01"] {
        let begun = Instant::now();
        let answer = exchange(&node.url, garbage, SOON).await.unwrap();
        assert!(answer.len() <= 7, "an alert at most: {answer:?}");
        assert!(begun.elapsed() < limits::TLS_HANDSHAKE_MAX, "{garbage:?}");
    }
    // The node supports and negotiates HTTP/1.1, but not HTTP/2.
    for (protocols, expected) in [
        (&["h2", "http/1.1"][..], Some(true)),
        (&["http/1.1"], Some(true)),
        (&[], Some(false)),
        (&["h2"], None),
    ] {
        assert_eq!(chosen(&node, protocols).await, expected, "{protocols:?}");
    }
    eventually("each is counted", SOON, async || {
        let metrics = node.admin_answer("/metrics").await;
        let none = |reason| format!(r#"inkwire_tls_refusals_total{{reason="{reason}"}} 0"#);
        let is_counted = |reason| !metrics.lines().any(|line| line == none(reason));
        !metrics.is_empty() && is_counted("failed") && is_counted("plain")
    })
    .await;
    // None of this prevents other clients from connecting.
    tls.open(&node).await.unwrap().finish().await;
}

/// Whether HTTP/1.1 was negotiated; `None` if the node ended the handshake.
async fn chosen(node: &NodeProcess, protocols: &[&str]) -> Option<bool> {
    let (mut connection, bytes) = hello(protocols);
    let mut tcp = TcpStream::connect(address(node)).await.unwrap();
    tcp.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; 16 * 1024];
    let mut kept = Vec::new();
    loop {
        let count = tokio::time::timeout(SOON, tcp.read(&mut answer)).await.unwrap().unwrap();
        kept.extend_from_slice(&answer[..count]);
        connection.read_tls(&mut &answer[..count]).unwrap();
        // This client trusts no certificate, but the protocol is negotiated before that check.
        match connection.process_new_packets() {
            Err(rustls::Error::InvalidCertificate(_)) => {
                return Some(connection.alpn_protocol() == Some(b"http/1.1"));
            }
            Err(rustls::Error::AlertReceived(_)) => return None,
            Ok(_) if count > 0 => {}
            other => panic!("{other:?} after {kept:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_never_finished_is_cut_after_five_seconds() {
    let tls = TlsCluster::start().await;
    let node = tls.node().await;
    let address = address(&node);
    let (_, whole) = hello(&[]);
    let begun = ["", "half a hello", "a whole hello"];
    let said: [&[u8]; 3] = [&[], &whole[..whole.len() / 2], &whole];
    let all = said.map(|said| left_open(&address, said));
    for (what, took) in begun.into_iter().zip(futures_util::future::join_all(all).await) {
        let max = limits::TLS_HANDSHAKE_MAX;
        assert!((max..max * 2).contains(&took), "{what}: {took:?}");
    }
    eventually("they are counted", SOON, async || {
        node.admin_answer("/metrics")
            .await
            .contains(r#"inkwire_tls_refusals_total{reason="slow"} 3"#)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_stalled_handshakes_keep_no_client_out() {
    let tls = TlsCluster::start().await;
    let node = tls.node().await;
    let (_, whole) = hello(&[]);
    let mut stalled = Vec::new();
    for n in 0..320 {
        let mut tcp = TcpStream::connect(address(&node)).await.unwrap();
        let said = if n % 5 == 0 { &whole[..] } else { &whole[..n % 3] };
        tcp.write_all(said).await.unwrap();
        stalled.push(tcp);
    }
    let begun = Instant::now();
    let mut socket = tls.open(&node).await.unwrap();
    let took = begun.elapsed();
    println!("{} handshakes stalled: another took {took:.1?}", stalled.len());
    assert!(took < limits::TLS_HANDSHAKE_MAX, "{took:?}");
    let refused = node.metric("inkwire_tls_refusals_total").await;
    assert_eq!(refused, 0, "no stalled handshake had been cut");
    socket.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_handshakes_above_the_rate_are_cut_before_tls() {
    // More than the node accepts, even if the busy machine needs several seconds.
    const AT_ONCE: usize = 40;
    let tls = TlsCluster::start().await;
    let mut setup = tls.setup(Some(tls.authority.issue()));
    setup.variables.push(("INKWIRE_NODE_HANDSHAKES_PER_SECOND", "3".to_owned()));
    let node = NodeProcess::of(&setup).await;
    let at_once = futures_util::future::join_all((0..AT_ONCE).map(|_| tls.open(&node))).await;
    let taken = at_once.iter().filter(|opened| opened.is_ok()).count();
    assert!((3..AT_ONCE).contains(&taken), "{taken} of {AT_ONCE} in a moment, 3 a second");
    for opened in &at_once {
        if let Err(error) = opened {
            assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
        }
    }
    // Each refusal is counted a moment after the connection is cut.
    let shed = format!(r#"inkwire_tls_refusals_total{{reason="shed"}} {}"#, AT_ONCE - taken);
    eventually(&shed, SOON, async || node.admin_answer("/metrics").await.contains(&shed)).await;
    // Later clients are served.
    eventually("the next second takes more", SOON, async || tls.open(&node).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_node_whose_certificate_expired_keeps_its_sockets_and_gets_no_clients() {
    let tls = TlsCluster::start().await;
    let names = ["127.0.0.1", "localhost"];
    let setup = tls.setup(Some(tls.authority.issue_for(&names, -60, 20)));
    let node = NodeProcess::of(&setup).await;
    eventually("the node is known", SOON, async || tls.fleet().await.contains(&node.url)).await;
    let api = tls.api("alice");
    let target = api.connect(None).await.unwrap().target;
    let mut socket = tls.open(&node).await.unwrap();
    socket.hello(&target.ticket, None).await.unwrap();
    let health = node.admin_answer("/healthz").await;
    assert!(health.contains(r#""status":"ok""#), "{health}");
    assert!(health.contains(r#""certificate_seconds":"#), "{health}");
    eventually("it says so", SOON * 2, async || {
        let health = node.admin_answer("/healthz").await;
        health.starts_with("HTTP/1.1 200") && health.contains(r#""status":"certificate_expired""#)
    })
    .await;
    eventually("its metric goes below zero", SOON, async || {
        node.admin_answer("/metrics").await.contains("inkwire_certificate_seconds -")
    })
    .await;
    eventually("it is no longer known", SOON, async || tls.fleet().await.is_empty()).await;
    assert!(tls.open(&node).await.is_err());
    // The open socket continues to work.
    let channel = tls.cluster.group("alice", &["bob"]).await.id;
    api.post_message(&channel, "still here", None, None).await.unwrap();
    let message = |frame: &ServerFrame| matches!(frame, ServerFrame::Message { .. });
    assert!(socket.frame_within(SOON, message).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reports_its_health_to_its_container() {
    let tls = TlsCluster::start().await;
    let health = |setup: &NodeSetup, admin: Option<u16>| {
        let mut command = setup.command(admin.unwrap_or_default());
        if admin.is_none() {
            command.env_remove("INKWIRE_NODE_ADMIN_LISTEN");
        }
        let looked = command.arg("--health").output().unwrap();
        let said = String::from_utf8(looked.stderr).unwrap();
        assert_eq!(looked.status.success(), said.is_empty(), "{said}");
        assert!(said.lines().count() <= 1, "{said}");
        looked.status.code()
    };
    for certificate in [None, Some(tls.authority.issue())] {
        let setup = tls.setup(certificate);
        assert_eq!(health(&setup, None), Some(1), "no node runs");
        let mut node = NodeProcess::of(&setup).await;
        assert_eq!(health(&setup, None), Some(0), "by its socket port");
        assert_eq!(health(&setup, Some(node.admin_port())), Some(0), "by its admin port");
        if setup.certificate.is_some() {
            let other = NodeSetup { certificate: Some(tls.authority.issue()), ..setup.clone() };
            assert_eq!(health(&other, None), Some(1), "another certificate");
            let plain = NodeSetup { certificate: None, ..setup.clone() };
            assert_eq!(health(&plain, None), Some(1), "TLS, but asked without it");
        }
        node.kill();
        assert_eq!(health(&setup, None), Some(1), "the node has ended");
    }
    let mut setup = tls.setup(None);
    setup.variables.push(("INKWIRE_NODE_LISTEN", "here".to_owned()));
    assert_eq!(health(&setup, None), Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_certificate_is_reported_at_the_start() {
    const CERTIFICATE: &str = "INKWIRE_NODE_TLS_CERTIFICATE";
    const KEY: &str = "INKWIRE_NODE_TLS_KEY";
    let tls = TlsCluster::start().await;
    let authority = &tls.authority;
    let (good, other) = (authority.issue(), authority.issue());
    let (over, early) = (
        authority.issue_for(&["127.0.0.1"], -7_200, -3_600),
        authority.issue_for(&["127.0.0.1"], 3_600, 7_200),
    );
    let elsewhere = authority.issue_for(&["n1.example"], -60, 3_600);
    let path = |file: &std::path::Path| file.to_str().unwrap().to_owned();
    let both = |issued: &Issued| vec![(CERTIFICATE, path(&issued.chain)), (KEY, path(&issued.key))];
    let nowhere = "/nowhere/at-all.pem".to_owned();
    for (variables, said) in [
        (vec![(KEY, String::new())], format!("{KEY} is not set")),
        (vec![(CERTIFICATE, String::new())], format!("{CERTIFICATE} is not set")),
        (
            vec![(CERTIFICATE, nowhere.clone())],
            format!("{CERTIFICATE} is neither PEM nor a readable file"),
        ),
        (vec![(KEY, nowhere)], format!("{KEY} is neither PEM nor a readable file")),
        (vec![(KEY, path(&other.key))], format!("{KEY} does not belong to the certificate")),
        (vec![(KEY, path(&good.chain))], format!("{KEY} contains no usable PEM private key")),
        (vec![(CERTIFICATE, path(&good.key))], format!("{CERTIFICATE} contains no readable PEM")),
        (both(&over), format!("{CERTIFICATE} is expired since ")),
        (both(&early), format!("{CERTIFICATE} is not valid before ")),
        (both(&elsewhere), format!("{CERTIFICATE} is not for the host of INKWIRE_NODE_URL")),
        (
            vec![("INKWIRE_NODE_URL", "ws://127.0.0.1:1/socket".to_owned())],
            "INKWIRE_NODE_URL is not wss://".to_owned(),
        ),
    ] {
        let mut setup = tls.setup(Some(good.clone()));
        setup.variables = variables;
        let ended = setup.command(free_port()).output().unwrap();
        let line = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{line}");
        assert!(line.contains(&said) && line.lines().count() == 1, "{said}: {line}");
        assert!(!line.contains("at-all") && !line.contains("BEGIN"), "{line}");
    }
    // Report all problems at once.
    let mut setup = tls.setup(Some(over));
    setup.variables.push(("INKWIRE_NODE_URL", "ws://n2.example/socket".to_owned()));
    setup.variables.push(("AWS_REGION", String::new()));
    let ended = setup.command(free_port()).output().unwrap();
    let line = String::from_utf8(ended.stderr).unwrap();
    for said in ["is expired", "is not wss://", "is not for the host", "AWS_REGION is not set"] {
        assert!(line.contains(said), "{said}: {line}");
    }
    // The variables may hold PEM itself instead of a path, as a task's secrets do.
    let mut setup = tls.setup(Some(good.clone()));
    setup.variables = vec![(CERTIFICATE, good.chain_pem), (KEY, good.key_pem)];
    let node = NodeProcess::of(&setup).await;
    tls.open(&node).await.unwrap().finish().await;
}
