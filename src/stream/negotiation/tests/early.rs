//! Registration and the login of before SASL, where they are allowed (S4).

use super::*;

const SASL: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
const REGISTER: &str = "<register xmlns='http://jabber.org/features/iq-register'/>";
const AUTH: &str = "<auth xmlns='http://jabber.org/features/iq-auth'/>";

fn allowed(registration: bool, legacy_auth: bool, features: &str, shown: &str) -> Talk {
    let mut talk = Talk::with(true, Auth::Relay, BeforeLogin { registration, legacy_auth });
    talk.to_features(&format!("{SASL}{features}"), &format!("{SASL}{shown}"));
    talk.limited()
}

fn legacy(id: &str, name: &str) -> String {
    format!(
        "<iq type='set' id='{id}'><query xmlns='jabber:iq:auth'><username>{name}</username><password>p</password>\
         <resource>r</resource></query></iq>"
    )
}

#[test]
fn s04_registration_passes_if_it_is_allowed_and_offered() {
    let set =
        "<iq type='set' id='2' to='example.org'><query xmlns='jabber:iq:register'><username>x</username></query></iq>";
    allowed(true, false, &format!("{REGISTER}{AUTH}"), REGISTER).script(&format!(
        "C> <iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>
         S< <iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>
         S> <iq type='result' id='1'><query xmlns='jabber:iq:register'><username/></query></iq>
         C< <iq type='result' id='1'><query xmlns='jabber:iq:register'><username/></query></iq>
         C> {set}
         S< {set}
         S> <iq type='error' id='2'/>
         C< <iq type='error' id='2'/>
         C> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
         !< may juliet@example.org log in at example.org with a password"
    ));
}

/// Neither is one, where it was not offered, for somebody else, with something beside it, nor the end of an account.
#[test]
fn s04_nothing_else_passes() {
    let register = "<query xmlns='jabber:iq:register'/>";
    let refused = [
        (false, true, format!("<iq type='set' id='1'>{register}</iq>")),
        (true, false, legacy("1", "juliet")),
        (true, true, format!("<iq type='set' id='1' to='other.example'>{register}</iq>")),
        (true, true, format!("<iq type='set' id='1' to='juliet@example.org'>{register}</iq>")),
        (true, true, format!("<iq type='set' id='1'>{register}{register}</iq>")),
        (true, true, format!("<iq type='result' id='1'>{register}</iq>")),
        (true, true, "<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>".into()),
        (true, true, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>".into()),
        (true, true, "<message to='juliet@example.org'/>".into()),
    ];
    let shown = |registration, legacy| {
        [(registration, REGISTER), (legacy, AUTH)].iter().filter(|(on, _)| *on).map(|(_, xml)| *xml).collect::<String>()
    };
    for (registration, legacy, sent) in refused {
        allowed(registration, legacy, &format!("{REGISTER}{AUTH}"), &shown(registration, legacy)).script(&format!(
            "C> {sent}
             C< <stream:error xmlns:stream='http://etherx.jabber.org/streams'><not-authorized …
             S< </stream:stream>
             !< end"
        ));
    }
    allowed(true, true, "", "").script(&format!(
        "C> <iq type='get' id='1'>{register}</iq>
         C< <stream:error xmlns:stream='http://etherx.jabber.org/streams'><not-authorized …
         S< </stream:stream>
         !< end"
    ));
}

#[test]
fn s04_requests_before_login_are_few() {
    let mut talk = allowed(true, false, REGISTER, REGISTER);
    for _ in 0..10 {
        talk.script(
            "C> <iq type='get'><query xmlns='jabber:iq:register'/></iq>
             S< <iq type='get'><query xmlns='jabber:iq:register'/></iq>
             S> <iq type='result'/>
             C< <iq type='result'/>",
        );
    }
    talk.script(
        "C> <iq type='get'><query xmlns='jabber:iq:register'/></iq>
         C< <stream:error xmlns:stream='http://etherx.jabber.org/streams'><policy-violation …
         S< </stream:stream>
         !< end",
    );
}

#[test]
fn s04_a_login_of_before_sasl_passes_the_gate_and_is_pass_through() {
    let form = "<iq type='get' id='1'><query xmlns='jabber:iq:auth'><username>juliet</username></query></iq>";
    let (wrong, right) = (legacy("2", "Juliet"), legacy("3", "juliet"));
    allowed(false, true, &format!("{REGISTER}{AUTH}"), AUTH).script(&format!(
        "C> {form}
         S< {form}
         S> <iq type='result' id='1'><query xmlns='jabber:iq:auth'><username/></query></iq>
         C< <iq type='result' id='1'><query xmlns='jabber:iq:auth'><username/></query></iq>
         C> {wrong}
         !< may juliet@example.org log in at example.org
         !> turned away
         C< <iq type='error' id='2'><error type='wait'><resource-constraint …
         C> {wrong}
         !< may juliet@example.org log in at example.org
         !> admitted
         S< {wrong}
         S> <iq type='error' id='2'><error type='auth'/></iq>
         !< Failure
         C< <iq type='error' id='2'><error type='auth'/></iq>
         C> {right}
         !< may juliet@example.org log in at example.org
         !> admitted
         S< {right}
         S> <iq type='result' id='3'/>
         !< Success
         C< <iq type='result' id='3'/>
         !< raise limits
         !< bound juliet@example.org/r untrusted"
    ));
}

#[test]
fn s04_logins_of_before_sasl_are_as_few_as_others() {
    let mut talk = allowed(false, true, AUTH, AUTH);
    let nameless = "<iq type='set' id='2'><query xmlns='jabber:iq:auth'><password>p</password></query></iq>";
    for last in [false, false, true] {
        talk.script(&format!(
            "C> {nameless}
             !< mistake
             C< <iq type='error' id='2'><error type='modify'><not-acceptable …
             {}",
            if last { "C< <stream:error …\nS< </stream:stream>\n!< end" } else { "" }
        ));
    }
    allowed(false, true, AUTH, AUTH).script(&format!(
        "C> {0}
         !< may juliet@example.org log in at example.org
         !> admitted
         S< {0}
         !> server gone
         !< Unanswered
         !< end",
        legacy("1", "juliet")
    ));
}
