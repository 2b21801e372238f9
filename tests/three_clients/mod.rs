//! One file a feature; each tells one story, which is tried with each library on each server.

mod archive;
mod invitations;
mod join_and_leave;
mod nicks;
mod private_messages;
mod removals;
mod self_ping;
mod voice;

use crate::support::driver::{Client, Failure};
use crate::support::muc::Seen;
use crate::support::server::{Kind, Options};
use crate::support::stage::{Library, Stage};

/// The tests of a story.
macro_rules! on_all {
    ($story:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn slixmpp_on_prosody() {
            $story($crate::three_clients::stage(Library::Slixmpp, Kind::Prosody).await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn slixmpp_on_ejabberd() {
            $story($crate::three_clients::stage(Library::Slixmpp, Kind::Ejabberd).await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn tokio_xmpp_on_prosody() {
            $story($crate::three_clients::stage(Library::TokioXmpp, Kind::Prosody).await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn tokio_xmpp_on_ejabberd() {
            $story($crate::three_clients::stage(Library::TokioXmpp, Kind::Ejabberd).await).await;
        }
    };
}
use on_all;

async fn stage(library: Library, kind: Kind) -> Stage {
    Stage::with(library, kind, Options::default()).await
}

/// Nothing that a library was shown was beyond it.
fn all_understood(stage: &Stage) {
    for client in stage.clients.iter().chain([&stage.bob, &stage.carol]) {
        let all = client.seen_since(0);
        let beyond: Vec<&Seen> = all.iter().filter(|s| s.what() == "not understood").collect();
        assert!(beyond.is_empty(), "{}: {beyond:#?}", client.name);
    }
}

/// The nicks that a client takes to be in the room.
async fn nicks(client: &Client, room: &str) -> Vec<String> {
    client.view(room).await.into_iter().map(|o| o.nick).collect()
}

/// Presence of alice's own occupant names the client that it is shown to.
fn names(seen: &Seen, client: &Client) {
    assert_eq!(seen.text("jid"), format!("alice@localhost/{}", client.name), "{seen:?}");
}

/// The condition that something failed with.
fn condition<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> String {
    outcome.expect_err("this is not to work").error
}
