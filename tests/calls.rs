//! A call in a room (Muji, XEP-0272): one client is in it, another one's presence is shown; others see that one with the call.

mod support;

use std::time::Duration;

use support::driver::Event;
use support::server::Kind;
use support::stage::Stage;

const MUJI: &str = "http://telepathy.freedesktop.org/muji";

async fn in_a_call(kind: Kind) {
    let stage = Stage::new(kind).await;
    let room = stage.room("call").await;
    let [phone, laptop, _] = &stage.clients;
    phone.raw(&format!("<presence to='{room}/alice' id='p1'><show>chat</show></presence>")).await;
    let of_alice = |pieces: &'static [&'static str]| {
        let from = format!("{room}/alice");
        move |e: &Event| e.is("presence", pieces) && e.attr("from").as_ref() == Some(&from)
    };
    stage.carol.wait_for("the phone's presence", of_alice(&["<show>chat</show>"])).await;

    let (mark, own) = (stage.carol.mark(), laptop.mark());
    let muji = format!("<muji xmlns='{MUJI}'><preparing/></muji>");
    let call = format!("<presence to='{room}/alice' id='l1'><show>away</show>{muji}</presence>");
    laptop.raw(&call).await;
    let seen = stage.carol.wait_since(mark, "the call", of_alice(&["<muji", "<preparing", MUJI])).await;
    assert!(seen.xml.contains("<show>chat</show>"), "{}", seen.xml);
    let seen = laptop.wait_since(own, "its call", of_alice(&["<muji", "'110'"])).await;
    assert_eq!(seen.attr("id").as_deref(), Some("l1"), "{}", seen.xml);

    // The call ends with its client, at once; what else is shown stays.
    let mark = stage.carol.mark();
    laptop.cut().await;
    let over = |e: &Event| of_alice(&["<show>chat</show>"])(e) && !e.xml.contains("<muji");
    let over = stage.carol.wait_within(Duration::from_secs(8), mark, over).await;
    assert!(over.is_some(), "{:#?}", stage.carol.since(mark));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_call_on_prosody() {
    in_a_call(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_call_on_ejabberd() {
    in_a_call(Kind::Ejabberd).await;
}
