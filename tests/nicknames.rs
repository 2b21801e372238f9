//! The nick of an account that is in a room with three clients, in front of each real server: one for all, whoever
//! changes it; refusals are for who asked; what the room reserves or assigns holds for all.

mod support;

use support::driver::Event;
use support::server::{Kind, Options};
use support::stage::{Library, Stage, shape};

const REGISTER: &str = "jabber:iq:register";

fn own_presence(room: &str, nick: &str, type_: Option<&str>) -> impl Fn(&Event) -> bool + use<> {
    let (from, type_) = (format!("{room}/{nick}"), type_.map(str::to_owned));
    move |e| e.is("presence", &["110"]) && e.attr("from").as_ref() == Some(&from) && e.attr("type") == type_
}

async fn nicks(kind: Kind) {
    let extra = match kind {
        Kind::Prosody => "enforce_registered_nickname = true\nallow_unaffiliated_register = true\n",
        Kind::Ejabberd => "",
    };
    let options = Options { extra: extra.to_owned(), ..Options::default() };
    let stage = Stage::with(Library::Slixmpp, kind, options).await;
    let room = stage.server.room("nicks");
    stage.carol.join(&room, "carol").await;
    stage.bob.join(&room, "bob").await;
    let [phone, laptop, tablet] = &stage.clients;
    phone.join(&room, "alice").await;
    laptop.join(&room, "alice").await;

    // One changes it: all see what bob sees when he changes his.
    let bob_mark = stage.bob.mark();
    stage.bob.nick(&room, "bob2").await.expect("bob's nick is free");
    let marks = stage.marks();
    phone.nick(&room, "alice2").await.expect("alice's nick is free");
    for (type_, old) in [(Some("unavailable"), ""), (None, "2")] {
        let nick = |user: &str| format!("{user}{old}");
        let bobs = stage.bob.wait_since(bob_mark, "bob's change", own_presence(&room, &nick("bob"), type_)).await;
        for (client, mark) in [(phone, marks[0]), (laptop, marks[1])] {
            let fits = own_presence(&room, &nick("alice"), type_);
            let seen = client.wait_since(mark, "alice's change", &fits).await;
            assert_eq!(
                shape(&seen.element(), "alice", &client.name),
                shape(&bobs.element(), "bob", "desk"),
                "{}\n{}",
                seen.xml,
                bobs.xml
            );
            client.sync().await;
            assert_eq!(client.since(mark).iter().filter(|e| fits(e)).count(), 1, "{}", client.name);
        }
    }

    // Who comes later and asks for the old one is told of the new one, without anybody seeing it.
    stage.carol.wait_for("alice2", |e| e.is("presence", &[&format!("from='{room}/alice2'")])).await;
    let (mark, carol_mark) = (tablet.mark(), stage.carol.mark());
    tablet.join(&room, "alice").await;
    let assigned = tablet.wait_since(mark, "its presence", own_presence(&room, "alice2", None)).await;
    assert!(assigned.xml.contains("210"), "{}", assigned.xml);
    stage.carol.sync().await;
    assert!(!stage.carol.since(carol_mark).iter().any(|e| e.is("presence", &["/alice"])));

    // Taken: an error for who asked, nothing for the others, and all goes on under the old one.
    let marks = stage.marks();
    laptop.raw(&format!("<presence to='{room}/carol' id='taken'/>")).await;
    let refused = |e: &Event| e.is("presence", &["<conflict"]);
    let error = laptop.wait_since(marks[1], "the conflict", refused).await;
    assert_eq!((error.attr("id").as_deref(), error.attr("from")), (Some("taken"), Some(format!("{room}/carol"))));
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2])] {
        client.sync().await;
        assert!(client.since(mark).iter().all(|e| !e.is("presence", &[&room])), "{:#?}", client.since(mark));
    }
    laptop.groupchat(&room, "m", "still the same").await;
    let said = stage.carol.wait_for("the message", |e| e.is("message", &["still the same"])).await;
    assert_eq!(said.attr("from"), Some(format!("{room}/alice2")));

    // Reserved by one client (over the account session, where the room keeps the list): for the account, from others.
    let muc_register = "http://jabber.org/protocol/muc#register";
    let (keeper, field, form) = match kind {
        Kind::Prosody => (
            room.clone(),
            "muc#register_roomnick",
            format!(
                "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{muc_register}</value></field>\
                 <field var='muc#register_roomnick'><value>queen</value></field></x>"
            ),
        ),
        Kind::Ejabberd => ("conference.localhost".to_owned(), "nick", "<nick>queen</nick>".to_owned()),
    };
    let ask = tablet.iq(&format!("<iq to='{keeper}' type='get' id='form'><query xmlns='{REGISTER}'/></iq>")).await;
    assert!(ask.xml.contains(field), "{}", ask.xml);
    let set = format!("<iq to='{keeper}' type='set' id='reserve'><query xmlns='{REGISTER}'>{form}</query></iq>");
    let marks = stage.marks();
    let done = tablet.iq(&set).await;
    assert_eq!(done.attr("type").as_deref(), Some("result"), "{}", done.xml);
    stage.bob.raw(&format!("<presence to='{room}/queen' id='usurper'/>")).await;
    stage.bob.wait_for("the refusal", |e| e.is("presence", &["usurper", "error"])).await;
    if kind == Kind::Ejabberd {
        laptop.raw(&format!("<presence to='{room}/queen' id='crown'/>")).await;
        for (client, mark) in stage.clients.iter().zip(marks) {
            client.wait_since(mark, "the new nick", own_presence(&room, "queen", None)).await;
        }
        return;
    }

    // This Prosody insists on it: it puts out who has another one, and gives it to who asks for another one. Whoever's
    // join it answers so is told; who asks for that very nick need not be.
    for (client, mark) in stage.clients.iter().zip(marks) {
        client.wait_since(mark, "its removal", own_presence(&room, "alice2", Some("unavailable"))).await;
    }
    let marks = stage.marks();
    phone.raw(&join(&room, "whatever")).await;
    let assigned = phone.wait_since(marks[0], "its presence", own_presence(&room, "queen", None)).await;
    assert!(assigned.xml.contains("210"), "{}", assigned.xml);
    laptop.raw(&join(&room, "queen")).await;
    let own = laptop.wait_since(marks[1], "its presence", own_presence(&room, "queen", None)).await;
    assert!(!own.xml.contains("210"), "{}", own.xml);
}

fn join(room: &str, nick: &str) -> String {
    format!("<presence to='{room}/{nick}' id='join'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
}

#[tokio::test(flavor = "multi_thread")]
async fn nicks_on_prosody() {
    nicks(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nicks_on_ejabberd() {
    nicks(Kind::Ejabberd).await;
}
