use std::net::IpAddr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, Record as DnsRecord};
use tokio::net::UdpSocket;

use super::*;

fn record(priority: u16, weight: u16, host: &str) -> Record {
    Record { priority, weight, target: Target { host: host.into(), port: 5222, direct: false } }
}

fn hosts(targets: &[Target]) -> Vec<&str> {
    targets.iter().map(|t| t.host.as_str()).collect()
}

#[test]
fn lower_priorities_come_first() {
    let records = vec![record(20, 0, "c"), record(5, 0, "a"), record(10, 100, "b")];
    assert_eq!(hosts(&order(records, |_| 0)), ["a", "b", "c"]);
    assert!(order(vec![record(0, 0, "")], |_| 0).is_empty());
}

#[test]
fn weights_share_within_a_priority() {
    let mut seed = 1u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let mut first = 0;
    for _ in 0..4000 {
        let targets = order(vec![record(0, 1, "a"), record(0, 3, "b"), record(1, 9, "z")], &mut random);
        assert_eq!(targets.len(), 3);
        assert_eq!(targets[2].host, "z");
        first += u32::from(targets[0].host == "b");
    }
    // Three of four, nearly: RFC 2782 draws from 0 to the sum inclusive.
    assert!((2200..3200).contains(&first), "{first}");
}

#[test]
fn families_take_turns() {
    let a = |n: u8| SocketAddr::from(([127, 0, 0, n], 1));
    assert_eq!(interleave(vec![a(1), a(2)], vec![a(3)]), [a(1), a(3), a(2)]);
}

/// A resolver that asks a name server of the test's own, which answers by `answer(name)`.
async fn resolver(answer: impl Fn(&str) -> Result<Vec<SRV>, ResponseCode> + Send + 'static) -> Resolver {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut connection = ConnectionConfig::udp();
    connection.port = socket.local_addr().unwrap().port();
    let server = NameServerConfig::new(IpAddr::from([127, 0, 0, 1]), true, vec![connection]);
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let query = question.queries[0].clone();
            let mut reply = Message::response(question.metadata.id, OpCode::Query);
            match answer(&query.name().to_ascii()) {
                Ok(records) => {
                    for srv in records {
                        reply.add_answer(DnsRecord::from_rdata(query.name().clone(), 60, RData::SRV(srv)));
                    }
                }
                Err(code) => reply.metadata.response_code = code,
            }
            reply.add_query(query);
            socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().attempts = 1;
    Resolver(Arc::new(OnceCell::from(builder.build().unwrap())))
}

fn srv(priority: u16, port: u16, host: &str) -> SRV {
    SRV::new(priority, 0, port, Name::from_ascii(host).unwrap())
}

fn target(host: &str, port: u16, direct: bool) -> Target {
    Target { host: host.into(), port, direct }
}

#[tokio::test]
async fn both_services_are_asked_and_mixed_by_priority() {
    let resolver = resolver(|name| match name {
        "_xmpp-client._tcp.xn--bcher-kva.example." => Ok(vec![srv(5, 5222, "a.example."), srv(20, 5222, "c.example.")]),
        "_xmpps-client._tcp.xn--bcher-kva.example." => Ok(vec![srv(10, 443, "b.example.")]),
        _ => Err(ResponseCode::NXDomain),
    })
    .await;
    let (a, b, c) =
        (target("a.example", 5222, false), target("b.example", 443, true), target("c.example", 5222, false));
    let targets = resolver.targets("bücher.example", UpstreamTls::StartTls).await.unwrap();
    assert_eq!(targets, [a.clone(), b.clone(), c.clone()]);
    let targets = resolver.targets("bücher.example", UpstreamTls::Direct).await.unwrap();
    assert_eq!(targets, [b]);
    let targets = resolver.targets("bücher.example", UpstreamTls::None).await.unwrap();
    assert_eq!(targets, [a, c]);
}

#[tokio::test]
async fn without_records_it_is_the_domain_itself() {
    let resolver = resolver(|_| Err(ResponseCode::NXDomain)).await;
    let targets = resolver.targets("x.example", UpstreamTls::StartTls).await.unwrap();
    assert_eq!(targets, [target("x.example", 5222, false)]);
    let targets = resolver.targets("x.example", UpstreamTls::Direct).await.unwrap();
    assert_eq!(targets, [target("x.example", 5223, true)]);
}

#[tokio::test]
async fn a_dot_is_no_service_and_a_broken_name_server_is_no_answer() {
    let none = resolver(|_| Ok(vec![srv(0, 0, ".")])).await;
    let error = none.targets("x.example", UpstreamTls::StartTls).await.unwrap_err();
    assert!(matches!(error, DialError::NoService { .. }), "{error}");
    // Whoever can break DNS must not be able to choose the fall-back.
    let broken = resolver(|_| Err(ResponseCode::ServFail)).await;
    let error = broken.targets("x.example", UpstreamTls::StartTls).await.unwrap_err();
    assert!(error.to_string().contains("_xmpp-client._tcp.x.example"), "{error}");
}
