//! What is refused (S1, S2, S4, S9): answered by the proxy or fatal, and never seen by the server.

use super::*;

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const PLAIN: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";

fn ends_with(talk: &mut Talk, sent: &str, condition: &str) {
    let mut out = Vec::new();
    talk.machine.handle(Input::Client(frame(sent)), &mut out);
    let down: String = out
        .iter()
        .filter_map(|a| match a {
            Action::Down(bytes) => Some(String::from_utf8_lossy(bytes)),
            Action::Up(bytes) => {
                assert_eq!(&bytes[..], b"</stream:stream>", "{sent}");
                None
            }
            _ => None,
        })
        .collect();
    assert!(down.contains(&format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")), "{sent}: {down}");
    assert!(down.ends_with("</stream:stream>"), "{sent}: {down}");
    assert!(matches!(out.last(), Some(Action::End(_))), "{sent}: {out:?}");
}

#[test]
fn s01_only_configured_domains_are_dialled() {
    for (header, condition) in [
        (HEADER.replace("example.org", "evil.example"), "host-unknown"),
        (HEADER.replace("to='example.org' ", ""), "improper-addressing"),
        (HEADER.replace("version='1.0' ", ""), "unsupported-version"),
        (HEADER.replace("'1.0'", "'0.9'"), "unsupported-version"),
    ] {
        let mut talk = Talk::new(true, Auth::Learn);
        ends_with(talk.script("!> TLS"), &header, condition);
        ends_with(&mut Talk::new(false, Auth::Learn), &header, condition);
    }
    let mut talk = Talk::until_bind("");
    talk.script("C> <enable xmlns='urn:xmpp:sm:3'/>\nC< <failed …");
}

#[test]
fn s01_the_domain_must_be_one_of_the_certificate_that_was_shown() {
    let mut talk = Talk::new(true, Auth::Learn);
    ends_with(talk.script("!> TLS other.example"), HEADER, "host-unknown");
    Talk::new(true, Auth::Learn).script("!> TLS example.org\nC> HEADER\n!< dial example.org");
}

#[test]
fn s01_the_header_after_login_must_name_the_same_domain() {
    let mut talk = Talk::until_features(Auth::Learn, PLAIN, PLAIN);
    talk.script(&format!(
        "C> <auth {SASL} mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         !< log in as juliet at example.org
         !> logged in
         C< <success {SASL}/>
         !< restart client
         !< restart server
         !< raise limits"
    ));
    let mut out = Vec::new();
    let header = HEADER.replace("example.org", "other.example");
    talk.machine.handle(Input::Client(frame(&header)), &mut out);
    assert!(!out.iter().any(|a| matches!(a, Action::Up(_))), "the old stream is over, there is no new one: {out:?}");
    // The error stands in a new stream (RFC 6120 §4.9.1.2).
    assert!(matches!(&out[0], Action::Down(b) if b.starts_with(b"<?xml version='1.0'?><stream:stream ")), "{out:?}");
    assert!(matches!(&out[1], Action::Down(b) if b.starts_with(b"<stream:error ")), "{out:?}");
    assert!(matches!(out.last(), Some(Action::End(_))));
}

#[test]
fn s02_a_foreign_authzid_is_refused() {
    let failed = |message: &str, condition: &str, auth| {
        use base64::Engine;
        let message = base64::engine::general_purpose::STANDARD.encode(message);
        Talk::until_features(auth, PLAIN, PLAIN).script(&format!(
            "C> <auth {SASL} mechanism='PLAIN'>{message}</auth>\nC< <failure {SASL}><{condition}/></failure>"
        ));
    };
    for auth in [Auth::Learn, Auth::Mixed, Auth::Relay] {
        failed("romeo@example.org\0juliet\0secret", "invalid-authzid", auth);
        failed("juliet@other.example\0juliet\0secret", "invalid-authzid", auth);
        failed("\0juliet@example.org\0secret", "not-authorized", auth);
        failed("\0juliet\0secret\0", "malformed-request", auth);
        failed("juliet\0secret", "malformed-request", auth);
    }
}

#[test]
fn s04_no_stanza_passes_before_login() {
    let register = "<iq type='set' id='r'><query xmlns='jabber:iq:register'/></iq>";
    let auth = "<iq type='set' id='r'><query xmlns='jabber:iq:auth'/></iq>";
    for stanza in [register, auth, "<message to='a@b'/>", "<presence/>"] {
        ends_with(&mut Talk::until_features(Auth::Relay, PLAIN, PLAIN), stanza, "not-authorized");
        ends_with(&mut Talk::until_bind(""), stanza, "not-authorized");
        let mut talk = Talk::new(false, Auth::Relay);
        talk.script("C> HEADER\nC< <stream:stream…\nC< <stream:features>…");
        ends_with(&mut talk, stanza, "not-authorized");
    }
}

#[test]
fn s09_what_was_not_offered_is_refused() {
    let fatal = [
        ("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "unsupported-stanza-type"),
        ("<active xmlns='urn:xmpp:csi:0'/>", "unsupported-stanza-type"),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "policy-violation"),
        ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "policy-violation"),
        ("<r xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
        ("<whatever xmlns='urn:x'/>", "unsupported-stanza-type"),
    ];
    for (sent, condition) in fatal {
        ends_with(&mut Talk::until_features(Auth::Mixed, PLAIN, PLAIN), sent, condition);
        ends_with(&mut Talk::until_bind(""), sent, condition);
    }
    let unexpected = "<unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    for mut talk in [Talk::until_features(Auth::Mixed, PLAIN, PLAIN), Talk::until_bind("")] {
        talk.script(&format!(
            "C> <enable xmlns='urn:xmpp:sm:3'/>
             C< <failed xmlns='urn:xmpp:sm:3'>{unexpected}</failed>
             C> <resume xmlns='urn:xmpp:sm:2' previd='x' h='1'/>
             C< <failed xmlns='urn:xmpp:sm:2'>{unexpected}</failed>
             C> <compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>
             C< <failure xmlns='http://jabber.org/protocol/compress'><unsupported-method/></failure>"
        ));
    }
}

#[test]
fn s09_mechanisms_that_were_not_offered_never_reach_the_server() {
    let server = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
                  <mechanism>EXTERNAL</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>";
    let shown = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms>";
    for mechanism in ["SCRAM-SHA-1-PLUS", "EXTERNAL", "PLAIN", "ANONYMOUS", ""] {
        Talk::until_features(Auth::Relay, server, shown).script(&format!(
            "C> <auth {SASL} mechanism='{mechanism}'>AGEAYg==</auth>
             C< <failure {SASL}><invalid-mechanism/></failure>"
        ));
    }
    Talk::until_features(Auth::Relay, server, shown).script(&format!(
        "C> <auth {SASL} mechanism='SCRAM-SHA-1'>!</auth>\nC< <failure {SASL}><incorrect-encoding/></failure>"
    ));
}

#[test]
fn s09_the_server_may_not_speak_out_of_turn_either() {
    let out_of_turn = [
        format!("<success {SASL}/>"),
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_owned(),
        "<message><body>before login</body></message>".to_owned(),
        "<stream:features/>".to_owned(),
        ANSWER.to_owned(),
    ];
    for sent in out_of_turn {
        let mut talk = Talk::until_features(Auth::Relay, PLAIN, PLAIN);
        talk.script(&format!(
            "S> {sent}
             C< <stream:error xmlns:stream='http://etherx.jabber.org/streams'><undefined-condition …
             S< <stream:error…
             !< end"
        ));
    }
}
