//! Every attempt to log in asks first whether it may (S3); the server hears of none that may not.

use super::*;

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const LATER: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><temporary-auth-failure/>\
    <text xml:lang='en'>too many failed logins; try again later</text></failure>";

fn limited(auth: Auth, mechanisms: &[&str]) -> Talk {
    let list: String = mechanisms.iter().map(|m| format!("<mechanism>{m}</mechanism>")).collect();
    let offer = format!("<mechanisms {SASL}>{list}</mechanisms>");
    Talk::until_features(auth, &offer, &offer).limited()
}

#[test]
fn s03_plain_that_ends_at_the_proxy_asks_first() {
    limited(Auth::Learn, &["PLAIN"]).script(&format!(
        "C> <auth {SASL} mechanism='PLAIN'>AEp1bGlldABzZWNyZXQ=</auth>
         !< may juliet@example.org log in at example.org with a password
         !> turned away
         C< {LATER}
         C> <auth {SASL} mechanism='PLAIN'/>
         C< <challenge {SASL}/>
         C> <response {SASL}>AGp1bGlldABzZWNyZXQ=</response>
         !< may juliet@example.org log in at example.org with a password
         !> admitted
         !< log in as juliet at example.org"
    ));
}

#[test]
fn s03_relayed_exchanges_ask_first_and_say_how_they_end() {
    let first = "biwsbj1qdWxpZXQscj1hYmM=";
    limited(Auth::Relay, &["SCRAM-SHA-1", "PLAIN"]).script(&format!(
        "C> <auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>
         !< may juliet@example.org log in at example.org
         !> turned away
         C< {LATER}
         C> <auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>
         !< may juliet@example.org log in at example.org
         !> admitted
         S< <auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>
         S> <challenge {SASL}>cj14</challenge>
         C< <challenge {SASL}>cj14</challenge>
         C> <abort {SASL}/>
         S< <abort {SASL}/>
         S> <failure {SASL}><aborted/></failure>
         !< Failure
         C< <failure {SASL}><aborted/></failure>
         C> <auth {SASL} mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         !< may juliet@example.org log in at example.org with a password
         !> admitted
         S< <auth {SASL} mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         S> <success {SASL}/>
         !< Success
         C< <success {SASL}/>
         !< restart client
         !< restart server
         !< raise limits"
    ));
}

/// The server is told nothing before the name is known.
#[test]
fn s03_a_name_in_the_first_response_is_asked_for_too() {
    let first = "biwsbj1qdWxpZXQscj1hYmM=";
    limited(Auth::Relay, &["SCRAM-SHA-1"]).script(&format!(
        "C> <auth {SASL} mechanism='SCRAM-SHA-1'/>
         C< <challenge {SASL}/>
         C> <response {SASL}>{first}</response>
         !< may juliet@example.org log in at example.org
         !> admitted
         S< <auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>
         S> <challenge {SASL}>cj14</challenge>
         C< <challenge {SASL}>cj14</challenge>
         C> <response {SASL}>Yz1iaXdz</response>
         S< <response {SASL}>Yz1iaXdz</response>
         S> </stream:stream>
         !< Unanswered
         C< </stream:stream>
         S< </stream:stream>
         !< end"
    ));
}

#[test]
fn s03_who_gives_no_name_asks_without_one() {
    limited(Auth::Relay, &["ANONYMOUS", "X-TOKEN", "SCRAM-SHA-1"]).script(&format!(
        "C> <auth {SASL} mechanism='ANONYMOUS'/>
         !< may somebody log in at example.org
         !> turned away
         C< {LATER}
         C> <auth {SASL} mechanism='SCRAM-SHA-1'>bm9uc2Vuc2U=</auth>
         !< may somebody log in at example.org
         !> turned away
         C< {LATER}
         C> <auth {SASL} mechanism='X-TOKEN'>YWJj</auth>
         !< may somebody log in at example.org
         !> admitted
         S< <auth {SASL} mechanism='X-TOKEN'>YWJj</auth>
         !> server gone
         !< Unanswered
         !< end"
    ));
}

#[test]
fn s03_what_the_proxy_refuses_by_itself_is_a_mistake() {
    limited(Auth::Learn, &["PLAIN"]).script(&format!(
        "C> <auth {SASL} mechanism='X'>AGp1bGlldABzZWNyZXQ=</auth>
         !< mistake
         C< <failure {SASL}><invalid-mechanism/></failure>
         C> <auth {SASL} mechanism='PLAIN'>AGp1bGlldA==</auth>
         !< mistake
         C< <failure {SASL}><malformed-request/></failure>"
    ));
}
