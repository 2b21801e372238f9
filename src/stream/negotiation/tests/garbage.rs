//! Frames in any order, in every state: never a panic, and nothing reaches the server that has no place (S9).

use proptest::prelude::*;

use super::*;

const FRAMES: &[&str] = &[
    HEADER,
    "</stream:stream>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1hYmM=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1-PLUS'>=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdz</response>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<compress xmlns='http://jabber.org/protocol/compress'/>",
    "<active xmlns='urn:xmpp:csi:0'/>",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><query xmlns='jabber:iq:register'/></iq>",
    "<iq type='set' id='b'><query xmlns='jabber:iq:register'/></iq>",
    "<message/>",
    "<presence/>",
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    ANSWER,
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>",
    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>cj14</challenge>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>",
    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@example.org/r</jid></bind></iq>",
    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@other.example/r</jid></bind></iq>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms><register xmlns='http://jabber.org/features/iq-register'/><auth xmlns='http://jabber.org/features/iq-auth'/></stream:features>",
    "<iq type='set' id='b'><query xmlns='jabber:iq:auth'><username>juliet</username><password>x</password><resource>r</resource></query></iq>",
    "<iq type='result' id='b'/>",
    "<iq type='error' id='b'/>",
];

/// What may ever go up, by how it begins.
const ALLOWED: &[&str] = &[
    "<?xml version='1.0'?><stream:stream to='example.org'",
    "</stream:stream>",
    "<stream:error",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdz</response>",
    "<abort ",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
];

fn any_input() -> impl Strategy<Value = (u8, usize)> {
    (0u8..12, 0..FRAMES.len())
}

fn make((kind, at): (u8, usize)) -> Input {
    match kind {
        0..=3 => Input::Client(frame(FRAMES[at])),
        4..=6 => Input::Server(frame(FRAMES[at])),
        7 => Input::LoggedIn,
        8 => Input::Dialled,
        10 => Input::Admitted,
        11 => Input::TurnedAway,
        _ => Input::TlsUp(None),
    }
}

/// How far the usual conversation goes before the garbage comes.
fn walk(machine: &mut Negotiation, steps: usize, out: &mut Vec<Action>) {
    let usual = [
        (9, 0),
        (0, 0),
        (8, 0),
        (4, 21),
        (4, 22),
        (0, 5),
        (10, 0),
        (4, 23),
        (0, 9),
        (4, 24),
        (0, 0),
        (4, 21),
        (4, 22),
        (0, 15),
    ];
    for step in usual.iter().take(steps) {
        machine.handle(make(*step), out);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|w| w == what)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn s09_garbage_never_reaches_the_server(
        direct in any::<bool>(),
        auth in prop_oneof![Just(Auth::Learn), Just(Auth::Mixed), Just(Auth::Relay)],
        registration in any::<bool>(),
        legacy_auth in any::<bool>(),
        steps in 0usize..15,
        inputs in prop::collection::vec(any_input(), 0..12),
    ) {
        let before_login = BeforeLogin { registration, legacy_auth };
        let mut machine = Negotiation::new(direct, auth, Arc::new(TestDomains(before_login)), "id".into());
        let mut out = Vec::new();
        walk(&mut machine, steps, &mut out);
        for input in inputs {
            let input = make(input);
            if matches!(input, Input::Client(_)) && !machine.wants_client() {
                continue;
            }
            machine.handle(input, &mut out);
        }
        let mut admitted = 0;
        for action in &out {
            match action {
                Action::Gate(_) => admitted += 1,
                Action::Up(bytes) if bytes.starts_with(b"<auth") || find(bytes, b"iq:auth") => admitted -= 1,
                Action::Login { .. } => admitted -= 1,
                _ => {}
            }
            prop_assert!(admitted >= 0, "an attempt that nobody let in (S3)");
            if let Action::Up(bytes) = action {
                let text = std::str::from_utf8(bytes).unwrap();
                let early = (registration && text.contains("jabber:iq:register") && !text.contains("<bind"))
                    || (legacy_auth && text.contains("jabber:iq:auth"));
                prop_assert!(early || ALLOWED.iter().any(|a| text.starts_with(a)), "went up: {}", text);
                prop_assert!(auth == Auth::Relay || !text.contains("PLAIN"));
            }
        }
        prop_assert!(out.iter().filter(|a| matches!(a, Action::End(_) | Action::Bound(_))).count() <= 1);
    }
}
