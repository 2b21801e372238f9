//! Another session of the account is in the room by itself, past the proxy, under the account's nick.

use super::*;

/// A is in the room, and a sibling is shown under the same nick.
fn shared() -> Stage {
    let mut stage = Stage::joined();
    stage.server(&of_sibling("nick", ""));
    stage
}

/// As ejabberd shows what one session does to the others of its nick.
fn of_sibling(nick: &str, attributes: &str) -> String {
    format!(
        "<presence from='{ROOM}/{nick}' to='{SESSION}' id='s'{attributes}>\
         <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x></presence>"
    )
}

fn own(nick: &str) -> String {
    let item = format!("<item affiliation='none' role='participant' jid='{SESSION}'/><status code='110'/>");
    format!(
        "<presence from='{ROOM}/{nick}' to='{SESSION}'><x xmlns='http://jabber.org/protocol/muc#user'>{item}</x></presence>"
    )
}

fn gone_without_110(codes: &str) -> String {
    gone(codes).replace("<status code='110'/>", "").replace(&format!(" jid='{SESSION}'"), "")
}

#[test]
fn what_a_sibling_shows_is_the_clients_own_presence() {
    let mut stage = shared();
    let seen = stage.seen(A);
    let item = format!("<item jid='{}' affiliation='none' role='participant'/><status code='110'/>", jid(A));
    assert!(seen.len() == 1 && seen[0].contains(&item), "{seen:?}");
    stage.client(B, &join("nick", "b1"));
    let seen = stage.seen(B);
    assert_eq!(seen.iter().filter(|line| line.contains("/nick'")).count(), 1, "{seen:#?}");
    assert!(seen[1].contains(&item.replace(jid(A).as_str(), jid(B).as_str())), "{seen:#?}");
}

#[test]
fn a_sibling_that_comes_before_the_accounts_own_presence_is_no_other_occupant() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.server(&of_sibling("nick", ""));
    stage.let_in("nick", "");
    let seen = stage.seen(A);
    assert_eq!(seen.iter().filter(|line| line.contains("/nick'")).count(), 1, "{seen:#?}");
}

#[test]
fn only_the_own_end_ends_the_membership_and_a_room_that_says_no_110_is_asked() {
    let mut stage = shared();
    stage.forget();
    stage.server(&gone_without_110(""));
    assert!(stage.seen(A).is_empty());
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<ping") && up[0].contains(&format!("to='{ROOM}/nick'")), "{up:?}");
    stage.server(&gone(""));
    assert!(stage.seen(A)[0].contains("unavailable"));
}

#[test]
fn a_kick_is_everybodys_also_without_110() {
    let mut stage = shared();
    stage.forget();
    stage.server(&gone_without_110("<status code='307'/>"));
    stage.server(&gone("<status code='307'/>"));
    let seen = stage.seen(A);
    let own = seen[0].contains("'307'") && seen[0].contains("'110'") && seen[0].contains(jid(A).as_str());
    assert!(own && seen[1].starts_with("detached") && seen.len() == 2, "{seen:?}");
    assert_eq!(stage.account.rooms().count(), 0);
}

#[test]
fn the_account_takes_another_nick_and_the_sibling_stays_under_the_old_one() {
    let mut stage = shared();
    stage.client(A, &format!("<presence to='{ROOM}/new' id='n'/>"));
    stage.forget();
    stage.server(&own("new"));
    let seen = stage.seen(A);
    assert!(seen.len() == 1 && seen[0].contains("/new'") && seen[0].contains(jid(A).as_str()), "{seen:?}");
    assert_eq!(stage.account.rooms().next().unwrap().nick(), "new");
    stage.client(B, &join("new", "b1"));
    let seen = stage.seen(B);
    let old: Vec<&String> = seen.iter().filter(|line| line.contains("/nick'")).collect();
    assert!(old.len() == 1 && !old[0].contains("110") && !old[0].contains("jid="), "{seen:#?}");
    let new: Vec<&String> = seen.iter().filter(|line| line.contains("/new'")).collect();
    assert!(new.len() == 1 && new[0].contains("110"), "{seen:#?}");
    // What becomes of the old nick is another's now.
    stage.server(&gone_without_110(""));
    assert_eq!(stage.account.rooms().count(), 1);
    assert!(stage.seen(A)[0].contains("/nick'"));
}
