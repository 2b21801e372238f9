use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;
use crate::net::budget::Budget;

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const SHORT: Duration = Duration::from_millis(20);

fn link(buffer: usize) -> (Link<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(buffer);
    (Link::new(near, Limits::AFTER_LOGIN), far)
}

async fn text(link: &mut Link<DuplexStream>) -> String {
    match link.recv().await.unwrap() {
        Event::Frame(Frame::Header(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        Event::Frame(Frame::Element(element)) => String::from_utf8(element.bytes.to_vec()).unwrap(),
        Event::Frame(Frame::Close) => "close".into(),
        Event::End => "end".into(),
    }
}

#[tokio::test]
async fn frames_arrive_whatever_the_chunks() {
    for chunk in [1, 2, 3, 7, 64, 4096] {
        let (mut link, mut far) = link(chunk);
        tokio::spawn(async move {
            let all = format!("{HEADER}<message><body>a</body></message>  <iq id='1'/></stream:stream>");
            for part in all.as_bytes().chunks(chunk) {
                far.write_all(part).await.unwrap();
            }
        });
        assert_eq!(text(&mut link).await, HEADER);
        assert_eq!(text(&mut link).await, "<message><body>a</body></message>");
        assert_eq!(text(&mut link).await, "<iq id='1'/>");
        assert_eq!(text(&mut link).await, "close");
        assert_eq!(text(&mut link).await, "end");
        assert_eq!(text(&mut link).await, "end");
    }
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    let (mut link, mut far) = link(1024);
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut link).await, HEADER);
    let stanza = "<message to='a'><body>hello</body></message>";
    for part in stanza.as_bytes()[..stanza.len() - 1].chunks(5) {
        far.write_all(part).await.unwrap();
        assert!(timeout(Duration::from_millis(1), link.recv()).await.is_err());
    }
    far.write_all(b">").await.unwrap();
    assert_eq!(text(&mut link).await, stanza);
}

#[tokio::test]
async fn what_is_queued_goes_out_while_reading_and_a_slow_peer_holds_up_only_writes() {
    let (mut link, mut far) = link(256);
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut link).await, HEADER);
    let much = "x".repeat(10_000);
    link.queue(much.as_bytes());
    // The peer reads nothing, and its stanza arrives all the same.
    far.write_all(b"<iq/>").await.unwrap();
    assert_eq!(text(&mut link).await, "<iq/>");
    assert!(timeout(SHORT, link.drive(true)).await.is_err());
    assert_eq!(link.queued(), 10_000 - 256);
    assert!(timeout(SHORT, link.flush()).await.is_err());
    let reader = tokio::spawn(async move {
        let mut got = vec![0; 10_000];
        far.read_exact(&mut got).await.unwrap();
        (got, far)
    });
    link.flush().await.unwrap();
    assert_eq!(link.queued(), 0);
    let (got, _far) = reader.await.unwrap();
    assert_eq!(got, much.as_bytes());
}

#[tokio::test]
async fn drive_without_reading_writes_and_leaves_the_input_alone() {
    let (mut link, mut far) = link(1024);
    far.write_all(HEADER.as_bytes()).await.unwrap();
    link.queue(b"hello");
    assert!(timeout(SHORT, link.drive(false)).await.is_err());
    let mut got = [0; 5];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
    assert_eq!(link.unread(), 0);
    assert_eq!(text(&mut link).await, HEADER);
}

#[tokio::test]
async fn an_idle_link_holds_no_buffers() {
    let (mut link, mut far) = link(1024);
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut link).await, HEADER);
    link.queue(b"hello");
    assert!(timeout(SHORT, link.recv()).await.is_err());
    assert_eq!((link.input.bytes.capacity(), link.output.bytes.capacity()), (0, 0));
}

#[tokio::test]
async fn the_end_in_the_middle_of_a_stanza_is_an_end() {
    let (mut link, mut far) = link(1024);
    far.write_all(format!("{HEADER}<message><bo").as_bytes()).await.unwrap();
    drop(far);
    assert_eq!(text(&mut link).await, HEADER);
    assert_eq!(text(&mut link).await, "end");
}

#[tokio::test]
async fn a_peer_that_is_gone_is_an_error_to_writes() {
    let (mut link, far) = link(16);
    drop(far);
    link.queue(b"hello");
    assert!(matches!(link.drive(false).await, Err(LinkError::Io(_))));
    assert!(link.flush().await.is_err());
}

#[tokio::test]
async fn what_is_glued_behind_a_frame_is_seen_before_tls_starts() {
    let (mut link, mut far) = link(1024);
    far.write_all(format!("{HEADER}<starttls/><iq/>").as_bytes()).await.unwrap();
    assert_eq!(text(&mut link).await, HEADER);
    assert!(link.unread() > 0);
    assert_eq!(text(&mut link).await, "<starttls/>");
    assert_eq!(link.unread(), "<iq/>".len());
    assert!(link.buffered().unwrap().is_some());
    assert_eq!(link.unread(), 0);
    assert!(link.buffered().unwrap().is_none());
}

#[tokio::test]
async fn bad_xml_is_an_error_and_a_restart_expects_a_header() {
    let (mut link, mut far) = link(1024);
    far.write_all(format!("{HEADER}<iq/>").as_bytes()).await.unwrap();
    assert_eq!(text(&mut link).await, HEADER);
    assert_eq!(text(&mut link).await, "<iq/>");
    link.restart();
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut link).await, HEADER);
    far.write_all(b"<a></b>").await.unwrap();
    assert!(matches!(link.recv().await, Err(LinkError::Framing(FramingError::NotWellFormed { .. }))));
}

#[tokio::test]
async fn shutdown_writes_the_rest_and_closes() {
    let (mut link, mut far) = link(1024);
    link.queue(b"bye");
    link.shutdown().await.unwrap();
    let mut got = String::new();
    far.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "bye");
}

#[tokio::test]
async fn who_needs_more_room_than_there_is_ends_and_gives_it_back() {
    let budget = Budget::new(32 * 1024);
    let (mut near, mut far) = link(1 << 20);
    near.set_share(budget.share());
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut near).await, HEADER);
    let body = "x".repeat(40 * 1024);
    far.write_all(format!("<message><body>{body}").as_bytes()).await.unwrap();
    assert!(timeout(SHORT, near.recv()).await.is_err());
    assert_eq!(budget.used(), 32 * 1024, "an unfinished stanza counts, but for what is free");
    far.write_all(b"</body></message>").await.unwrap();
    text(&mut near).await;
    assert_eq!(budget.used(), 0);
    // What is to be written counts too.
    near.queue(body.as_bytes());
    assert!(timeout(SHORT, near.recv()).await.is_err());
    let mut taken = vec![0; body.len()];
    far.read_exact(&mut taken).await.unwrap();
    assert!(timeout(SHORT, near.recv()).await.is_err());
    assert_eq!(budget.used(), 0);
    far.write_all(format!("<message><body>{body}{body}").as_bytes()).await.unwrap();
    assert!(matches!(near.recv().await, Err(LinkError::NoRoom)));
    drop(near);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn little_does_not_hold_much() {
    let (mut near, mut far) = link(4 << 20);
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut near).await, HEADER);
    let body = "x".repeat(900 * 1024);
    far.write_all(format!("<message><body>{body}</body></message><message>").as_bytes()).await.unwrap();
    text(&mut near).await;
    assert!(timeout(SHORT, near.recv()).await.is_err());
    assert!(near.input.bytes.capacity() < 64 * 1024, "{}", near.input.bytes.capacity());

    let (mut near, mut far) = link(1024);
    near.queue(body.as_bytes());
    let mut taken = vec![0; body.len() - 2000];
    tokio::select! {
        read = far.read_exact(&mut taken) => { read.unwrap(); }
        _ = near.recv() => unreachable!(),
    }
    assert!(timeout(SHORT, near.recv()).await.is_err());
    assert!(near.output.bytes.capacity() < 64 * 1024, "{}", near.output.bytes.capacity());
    assert!(near.output.size() < 64 * 1024, "{}", near.output.size());
}

#[tokio::test]
async fn no_more_is_read_than_was_allowed() {
    let (mut near, mut far) = link(1 << 20);
    far.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(text(&mut near).await, HEADER);
    near.allow(1);
    far.write_all(&vec![b' '; 100 * 1024]).await.unwrap();
    assert!(near.drive_to(true, None).await.is_none());
    assert!(near.received() < 40 * 1024, "{}", near.received());
    assert!(near.drive_to(true, None).await.is_none());
    assert!(timeout(SHORT, near.drive_to(false, None)).await.is_err());
    near.allow(u64::MAX);
    far.write_all(b"<iq/>").await.unwrap();
    assert_eq!(text(&mut near).await, "<iq/>");
}
