//! Whole logins, and how they fail.

use super::*;

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

fn offer(mechanisms: &[&str]) -> String {
    let list: String = mechanisms.iter().map(|m| format!("<mechanism>{m}</mechanism>")).collect();
    format!("<mechanisms {SASL}>{list}</mechanisms>")
}

fn b64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn starttls_then_plain_ends_at_the_proxy() {
    Talk::new(false, Auth::Learn).script(
        "C> HEADER
         C< <stream:stream from='example.org' id='id1' version='1.0' …
         C< <stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>
         C> <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
         !< start TLS after <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
         !> TLS
         C> HEADER
         !< dial example.org
         !> dialled
         S< HEADER
         S> ANSWER
         C< ANSWER
         S> <stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>
         C< <stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>
         C> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         !< log in as juliet at example.org
         !> logged in
         C< <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
         !< restart client
         !< restart server
         !< raise limits
         C> HEADER
         S< HEADER
         S> ANSWER
         C< ANSWER
         S> <stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>
         C< <stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>
         C> <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S< <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S> <message><body>early</body></message>
         C< <message><body>early</body></message>
         S> <iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@example.org/r</jid></bind></iq>
         C< <iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@example.org/r</jid></bind></iq>
         !< bound juliet@example.org/r of juliet@example.org",
    );
}

#[test]
fn between_success_and_new_headers_an_error_opens_the_stream_it_is_told_on() {
    let mechanisms = offer(&["PLAIN"]);
    let mut talk = Talk::until_features(Auth::Learn, &mechanisms, &mechanisms);
    talk.script(&format!(
        "C> <auth {SASL} mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         !< log in as juliet at example.org
         !> logged in
         C< <success {SASL}/>
         !< restart client
         !< restart server
         !< raise limits
         S> <message/>
         C< <stream:stream from='example.org' …
         C< <stream:error …
         !< end"
    ));
}

/// A SCRAM exchange relayed with `first` as the client's first message, up to what the proxy makes of the bound JID.
fn relayed(first: &str, jid: &str, expected: &str) {
    let offered = offer(&["SCRAM-SHA-1"]);
    let first = b64(first);
    Talk::until_features(Auth::Relay, &offered, &offered).script(&format!(
        "C> <auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>
         S< <auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>
         S> <challenge {SASL}>cj14</challenge>
         C< <challenge {SASL}>cj14</challenge>
         C> <response {SASL}>Yz1iaXdz</response>
         S< <response {SASL}>Yz1iaXdz</response>
         S> <success {SASL}>dj14</success>
         C< <success {SASL}>dj14</success>
         !< restart client
         !< restart server
         !< raise limits
         C> HEADER
         S< HEADER
         S> ANSWER
         C< ANSWER
         S> <stream:features/>
         C< <stream:features/>
         C> <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S< <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S> <iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind></iq>
         C< <iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind></iq>
         !< bound {expected}",
    ));
}

#[test]
fn s02_a_relayed_login_is_trusted_if_the_bound_name_is_the_one_that_logged_in() {
    relayed("n,,n=juliet,r=abc", "juliet@example.org/r", "juliet@example.org/r of juliet@example.org");
    relayed("n,,n=Juliet,r=abc", "juliet@example.org/r", "juliet@example.org/r of juliet@example.org");
    let own = "n,a=juliet@example.org,n=juliet,r=abc";
    relayed(own, "juliet@example.org/r", "juliet@example.org/r of juliet@example.org");
    relayed("n,,n=romeo,r=abc", "juliet@example.org/r", "juliet@example.org/r untrusted");
    let foreign = "n,a=juliet@example.org,n=romeo,r=abc";
    relayed(foreign, "juliet@example.org/r", "juliet@example.org/r untrusted");
    relayed("n,,what", "juliet@example.org/r", "juliet@example.org/r untrusted");
}

#[test]
fn s02_a_bound_jid_of_another_domain_ends_the_stream() {
    for jid in ["juliet@other.example/r", "juliet@example.org", "example.org/r/", "", "juliet@sub.example.org/r"] {
        if jid == "example.org/r/" {
            continue;
        }
        Talk::until_bind("").script(&format!(
            "C> <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
             S< <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
             S> <iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind></iq>
             C< <stream:error xmlns:stream='http://etherx.jabber.org/streams'><undefined-condition …
             S< <stream:error …
             !< end"
        ));
    }
}

#[test]
fn only_the_answer_with_the_requests_id_binds() {
    Talk::until_bind("").script(
        "C> <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S< <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S> <iq type='result' id='c'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>x@example.org/r</jid></bind></iq>
         C< <iq type='result' id='c'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>x@example.org/r</jid></bind></iq>
         S> <iq type='error' id='b'><error type='cancel'/></iq>
         C< <iq type='error' id='b'><error type='cancel'/></iq>
         C> <iq type='set' id='d'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S< <iq type='set' id='d'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         S> <iq type='result' id='d'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@example.org/r</jid></bind></iq>
         C< <iq type='result' id='d'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@example.org/r</jid></bind></iq>
         !< bound juliet@example.org/r of juliet@example.org",
    );
}

#[test]
fn mixed_adds_plain_to_what_can_be_relayed() {
    let shown = offer(&["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]);
    let server = offer(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "SCRAM-SHA-1"]);
    Talk::until_features(Auth::Mixed, &server, &shown).script(&format!(
        "C> <auth {SASL} mechanism='PLAIN'/>
         C< <challenge {SASL}/>
         C> <response {SASL}>AGp1bGlldABzZWNyZXQ=</response>
         !< log in as juliet at example.org"
    ));
    let shown = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
    let empty = format!("<mechanisms {SASL}/>");
    Talk::until_features(Auth::Mixed, &empty, shown);
}

#[test]
fn relay_rebuilds_plain_and_learns_the_name() {
    let offered = offer(&["PLAIN"]);
    let (odd, plain) = ("\u{20}AGp1bGlldABzZWNyZXQ=\n".trim_end(), "AGp1bGlldABzZWNyZXQ=");
    Talk::until_features(Auth::Relay, &offered, &offered).script(&format!(
        "C> <auth {SASL} x='y' mechanism='PLAIN'>{odd}</auth>
         S< <auth {SASL} mechanism='PLAIN'>{plain}</auth>
         S> <failure {SASL}><not-authorized/><text>no</text></failure>
         C< <failure {SASL}><not-authorized/><text>no</text></failure>
         C> <auth {SASL} mechanism='PLAIN'>{plain}</auth>
         S< <auth {SASL} mechanism='PLAIN'>{plain}</auth>"
    ));
}

#[test]
fn features_lose_what_ends_at_the_proxy_and_keep_the_rest_to_the_byte() {
    let keep1 = "<x:odd xmlns:x='urn:x' a = \"1\"><y/>&amp;</x:odd>";
    let keep2 = "<ver xmlns='urn:xmpp:features:rosterver'/><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>9</max-bytes></limits>";
    let server = format!(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{keep1}<compression xmlns='http://jabber.org/features/compress'>\
         <method>zlib</method></compression><authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>\
         <sm xmlns='urn:xmpp:sm:3'/><sm xmlns='urn:xmpp:sm:2'><optional/></sm><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/>\
         <register xmlns='http://jabber.org/features/iq-register'/><auth xmlns='http://jabber.org/features/iq-auth'/>\
         <isr xmlns='https://xmpp.org/extensions/isr/0'/>{keep2}{}",
        offer(&["EXTERNAL"])
    );
    Talk::until_features(Auth::Relay, &server, &format!("{keep1}{keep2}"));
}

#[test]
fn s12_no_larger_stanzas_are_announced_than_are_taken() {
    let limits = |bytes: &str| {
        format!(
            "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{bytes}</max-bytes><idle-seconds>9</idle-seconds></limits>"
        )
    };
    for (announced, shown) in [("262144", "10000"), ("10000", "10000"), (" 9", " 9"), ("many", "many")] {
        Talk::until_features(Auth::Relay, &limits(announced), &limits(shown));
    }
}

#[test]
fn a_refused_login_can_be_repeated_three_times() {
    let failure = format!("<failure {SASL}><not-authorized/></failure>");
    let mut talk = Talk::until_features(Auth::Learn, &offer(&["PLAIN"]), &offer(&["PLAIN"]));
    let attempt = format!(
        "C> <auth {SASL} mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         !< log in as juliet at example.org
         !> refused {failure}
         C< {failure}\n"
    );
    talk.script(&attempt.repeat(2));
    talk.script(&format!("{attempt}C< <stream:error …\nS< </stream:stream>\n!< end"));
}

#[test]
fn errors_and_ends_travel_both_ways() {
    let error = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>gone</text></stream:error>";
    let sent = error.replacen("error>", "error xmlns:stream='http://etherx.jabber.org/streams'>", 1);
    Talk::until_bind("").script(&format!("S> {error}\nC< {sent}</stream:stream>\nS< </stream:stream>\n!< end"));
    Talk::until_bind("").script(&format!("C> {error}\nC< </stream:stream>\nS< {error}</stream:stream>\n!< end"));
    Talk::until_bind("").script("C> </stream:stream>\nC< </stream:stream>\nS< </stream:stream>\n!< end");
    Talk::until_bind("").script("S> </stream:stream>\nC< </stream:stream>\nS< </stream:stream>\n!< end");
    Talk::until_bind("").script("!> server gone\n!< end");
    Talk::until_bind("").script("!> client gone\n!< end");
    Talk::new(true, Auth::Learn).script(
        "!> TLS
         C> HEADER
         !< dial example.org
         !> dial failed
         C< <stream:stream from='example.org' …
         C< <stream:error xmlns:stream='http://etherx.jabber.org/streams'><remote-connection-failed …
         !< end",
    );
}
