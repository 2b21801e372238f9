//! The operator has the account leave a room, in every phase of its membership.

use super::*;
use crate::muc::dismiss::Standing;

fn standing(stage: &Stage) -> Vec<Standing> {
    stage.account.room_states().into_iter().map(|room| room.standing).collect()
}

#[test]
fn the_account_leaves_at_once_and_its_clients_are_told() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    let states = stage.account.room_states();
    assert_eq!((states.len(), states[0].clients.len(), states[0].occupants), (1, 2, 2));
    stage.give(Input::LeaveRoom(ROOM.to_owned()));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("type='unavailable'"), "{up:?}");
    for client in [A, B] {
        let seen = stage.seen(client);
        assert!(seen.len() == 2 && seen[0].contains("unavailable") && seen[0].contains("'110'"), "{seen:?}");
        assert!(seen[1].starts_with("detached"), "{seen:?}");
    }
    assert_eq!(standing(&stage), [Standing::Leaving]);
    // A second time changes nothing; whoever joins meanwhile waits for the leave.
    stage.give(Input::LeaveRoom(ROOM.to_owned()));
    stage.client(B, &join("nick", "b2"));
    assert!(stage.up().is_empty());
    stage.server(&gone(""));
    assert!(stage.up()[0].contains("<x xmlns='http://jabber.org/protocol/muc'>"));
    stage.let_in("nick", "");
    assert_eq!((standing(&stage), stage.seen(B).len()), (vec![Standing::Joined], 4));
}

#[test]
fn also_where_it_is_not_in_the_room_just_now() {
    // Put out by an accident: it does not go back.
    let mut stage = Stage::joined();
    stage.server(&gone("<status code='333'/>"));
    assert_eq!(standing(&stage), [Standing::Lost]);
    stage.forget();
    stage.give(Input::LeaveRoom(ROOM.to_owned()));
    assert!(standing(&stage).is_empty());
    stage.pass(Duration::from_secs(600));
    assert!(stage.up().is_empty());

    // Its session is lost: the same.
    let mut stage = Stage::joined();
    stage.give(Input::SessionLost);
    stage.forget();
    stage.give(Input::LeaveRoom(ROOM.to_owned()));
    assert!(standing(&stage).is_empty());

    // Its join is under way: it is undone, and the client that waits for it gets in by another.
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    assert_eq!(standing(&stage), [Standing::Joining]);
    stage.give(Input::LeaveRoom(ROOM.to_owned()));
    stage.forget();
    stage.let_in("nick", "");
    assert!(stage.seen(A).is_empty() && stage.up().is_empty());
    stage.server(&gone(""));
    assert_eq!(stage.up().len(), 1);
    stage.let_in("nick", "");
    assert_eq!(stage.seen(A).len(), 4);
}
