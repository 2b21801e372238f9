//! The room's archive, page by page (XEP-0313), for two clients at once.

use super::*;

async fn archive(stage: Stage) {
    let room = &stage.room("archive").await;
    let [phone, laptop, tablet] = &stage.clients;
    let authors = [phone, laptop, &stage.carol, tablet, &stage.bob, phone, laptop];
    let mark = stage.carol.mark();
    let bodies: Vec<String> = (0..authors.len()).map(|n| format!("message {n}")).collect();
    for (author, body) in authors.into_iter().zip(&bodies) {
        author.groupchat(room, &body.replace(' ', "-"), body).await;
        stage.carol.sees(mark, "the message", |s| s.text("body") == body).await;
    }
    // This Prosody writes it down when it has sent it.
    stage.carol.settle().await;

    let marks = stage.marks();
    let (threes, twos) = tokio::join!(phone.archive(room, 3), tablet.archive(room, 2));
    for (client, pages, max) in [(phone, threes, 3), (tablet, twos, 2)] {
        // A library may ask once more, and get an empty page.
        let pages: Vec<Vec<String>> = pages.into_iter().filter(|page| !page.is_empty()).collect();
        let expected: Vec<Vec<String>> = bodies.chunks(max).map(<[String]>::to_vec).collect();
        assert_eq!(pages, expected, "{}", client.name);
    }
    // Each got its own results, once, and who did not ask got none.
    for ((client, mark), expected) in stage.since(marks).zip([bodies.len(), 0, bodies.len()]) {
        client.settle().await;
        let results = client.since(mark).iter().filter(|e| e.is("message", &["urn:xmpp:mam:2"])).count();
        assert_eq!(results, expected, "{}", client.name);
        client.sees_no(mark, "a message", |s| matches!(s.what(), "groupchat" | "chat")).await;
    }
    all_understood(&stage);
}

on_all!(archive);
