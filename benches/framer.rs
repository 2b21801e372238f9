//! What the framer costs per stanza: time, whole and in chunks of one byte, and allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use minimix_proxy::xml::framer::{Framer, Limits};

/// Counts allocations, and growth of what was allocated.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// A message as a room sends it, 500 bytes.
fn chat() -> String {
    let head = "<message from='coven@chat.example.net/thirdwitch' to='romeo@example.net/orchard' type='groupchat' \
        id='4f1c1b7a-0d0e-4d6f-9b0a-5a1d3f0c7e21' xml:lang='en'><body>";
    let tail = "</body><stanza-id xmlns='urn:xmpp:sid:0' id='2026-01-01-0123456789abcdef' by='coven@chat.example.net'/>\
        <origin-id xmlns='urn:xmpp:sid:0' id='4f1c1b7a-0d0e-4d6f'/><markable xmlns='urn:xmpp:chat-markers:0'/></message>";
    let said = "Thrice the brinded cat hath mewed. ".repeat(10);
    format!("{head}{}{tail}", &said[..500 - head.len() - tail.len()])
}

/// A presence, 150 bytes.
fn presence() -> String {
    let text = "<presence from='coven@chat.example.net/thirdwitch' to='romeo@example.net/orchard' xml:lang='en'>\
        <show>away</show><priority>50000</priority></presence>";
    assert_eq!(text.len(), 150);
    text.to_owned()
}

/// A framer past the stream header, and a buffer with room for many stanzas.
fn begun() -> (Framer, BytesMut) {
    let (mut framer, mut buf) = (Framer::new(Limits::AFTER_LOGIN), BytesMut::with_capacity(64 * 1024));
    buf.put_slice(HEADER);
    assert!(matches!(framer.next(&mut buf), Ok(Some(_))));
    (framer, buf)
}

/// Takes all frames that are in `buf`.
fn drain(framer: &mut Framer, buf: &mut BytesMut) -> u64 {
    let mut frames = 0;
    while let Ok(Some(frame)) = framer.next(buf) {
        black_box(frame);
        frames += 1;
    }
    frames
}

fn bench(criterion: &mut Criterion) {
    for (name, stanza) in [("chat", chat()), ("presence", presence())] {
        let stanza = stanza.as_bytes();
        let mut group = criterion.benchmark_group(format!("framer/{name}-{}", stanza.len()));
        group.throughput(Throughput::Bytes(stanza.len() as u64));
        let (mut framer, mut buf) = begun();
        group.bench_function("whole", |bencher| {
            bencher.iter(|| {
                buf.put_slice(stanza);
                assert_eq!(drain(&mut framer, &mut buf), 1);
            });
        });
        let (mut framer, mut buf) = begun();
        group.bench_function("bytewise", |bencher| {
            bencher.iter(|| {
                let frames: u64 = stanza
                    .iter()
                    .map(|&byte| {
                        buf.put_u8(byte);
                        drain(&mut framer, &mut buf)
                    })
                    .sum();
                assert_eq!(frames, 1);
            });
        });
        group.finish();

        // Reads of 8 KiB into one buffer, as a connection does.
        let (mut framer, mut buf) = begun();
        let stream: Vec<u8> = stanza.iter().copied().cycle().take(stanza.len() * 10_000).collect();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let frames: u64 = stream
            .chunks(8 * 1024)
            .map(|read| {
                buf.put_slice(read);
                drain(&mut framer, &mut buf)
            })
            .sum();
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        println!("{name}: {allocations} allocations for {frames} stanzas, {} each", allocations as f64 / frames as f64);
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
