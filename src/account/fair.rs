//! Fairness between the clients of one account (pure): their stanzas share one session, and the server has one limit
//! for it. Each client has a queue, and bytes are taken from the queues in turn (deficit round robin), so that a client
//! that floods waits behind itself. [`Window`] keeps what was sent and not yet read by the server small: what lies in
//! the network is ordered already.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::account::handle::ToAccount;
use crate::muc::ClientId;

/// Bytes a client may send before it is the next one's turn.
const QUANTUM: usize = 4 * 1024;
/// Bytes after which the server is asked how far it has read.
const PROBE: usize = 8 * 1024;
/// Bytes the server may have before it, unread as far as is known.
const MOST_UNREAD: usize = 32 * 1024;
/// A server that has not answered for so long does not answer such questions: nothing is kept back for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What clients sent and the account has not taken yet. Bounded by the clients' credit.
#[derive(Debug, Default)]
pub struct Fair {
    queues: HashMap<ClientId, Queue>,
    /// Whose turn it is: those that have something, each once.
    turns: VecDeque<ClientId>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<ToAccount>,
    deficit: usize,
}

impl Fair {
    /// A client's message, behind its others.
    pub fn push(&mut self, client: ClientId, message: ToAccount) {
        let queue = self.queues.entry(client).or_default();
        if queue.messages.is_empty() {
            self.turns.push_back(client);
        }
        queue.messages.push_back(message);
    }

    /// The next one.
    pub fn next(&mut self) -> Option<ToAccount> {
        loop {
            let client = *self.turns.front()?;
            let queue = self.queues.entry(client).or_default();
            let size = queue.messages.front().map_or(0, ToAccount::size);
            if size > queue.deficit {
                queue.deficit += QUANTUM;
                self.turns.rotate_left(1);
                continue;
            }
            queue.deficit -= size;
            let message = queue.messages.pop_front();
            if queue.messages.is_empty() {
                self.turns.pop_front();
                self.queues.remove(&client);
            }
            if message.is_some() {
                return message;
            }
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

/// What was sent on the account session and is not known to be read: pings tell, of which none is needed while little
/// is sent.
#[derive(Debug, Default)]
pub struct Window {
    sent: u64,
    read: u64,
    /// The pings under way: id, what had been sent before it, since when.
    probes: VecDeque<(String, u64, Instant)>,
}

impl Window {
    /// So many bytes are sent. Whether a ping is to follow; none does while one has been waited for in vain.
    pub fn sent(&mut self, bytes: usize, now: Instant) -> bool {
        self.sent += bytes as u64;
        if self.deadline().is_some_and(|at| now >= at) {
            return false;
        }
        let asked = self.probes.back().map_or(self.read, |(_, before, _)| *before);
        self.sent - asked >= PROBE as u64
    }

    /// The ping with this id is sent now.
    pub fn asked(&mut self, id: String, now: Instant) {
        self.probes.push_back((id, self.sent, now));
    }

    /// An answer to that id came from the server. Whether it was one of the pings.
    pub fn answered(&mut self, id: &str) -> bool {
        let Some(at) = self.probes.iter().position(|(asked, ..)| asked == id) else { return false };
        if let Some((_, before, _)) = self.probes.drain(..=at).next_back() {
            self.read = before;
        }
        true
    }

    /// When nothing more is waited for.
    pub fn deadline(&self) -> Option<Instant> {
        self.probes.front().map(|(.., since)| *since + PATIENCE)
    }

    /// Whether no more is to be sent for clients.
    pub fn is_full(&self, now: Instant) -> bool {
        self.sent - self.read >= MOST_UNREAD as u64 && self.deadline().is_some_and(|at| now < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::handle::Credit;
    use crate::xmpp::stanza::Stanza;

    fn stanza(client: u64, size: usize, number: usize) -> (ClientId, ToAccount) {
        let text = format!("<message id='{number}'>{}</message>", "x".repeat(size));
        let (client, credit) = (ClientId(client), Credit::default());
        (client, ToAccount::Stanza { client, stanza: Stanza::own(text), fresh: false, credit })
    }

    fn taken(fair: &mut Fair) -> Option<(u64, usize)> {
        match fair.next()? {
            ToAccount::Stanza { client, stanza, .. } => Some((client.0, stanza.id()?.parse().ok()?)),
            _ => None,
        }
    }

    fn fill(fair: &mut Fair, client: u64, size: usize, count: usize) {
        for number in 0..count {
            let (client, message) = stanza(client, size, number);
            fair.push(client, message);
        }
    }

    #[test]
    fn who_floods_waits_behind_itself() {
        let mut fair = Fair::default();
        fill(&mut fair, 1, 500, 1000);
        fill(&mut fair, 2, 100, 1);
        let before = std::iter::from_fn(|| taken(&mut fair)).position(|(client, _)| client == 2);
        assert!(before.is_some_and(|before| before <= 2 * QUANTUM / 500), "{before:?}");
    }

    #[test]
    fn bytes_are_shared_and_not_stanzas() {
        let mut fair = Fair::default();
        fill(&mut fair, 1, 10_000, 100);
        fill(&mut fair, 2, 100, 5000);
        let mut bytes = [0; 2];
        for _ in 0..1000 {
            let (client, _) = taken(&mut fair).unwrap();
            bytes[client as usize - 1] += if client == 1 { 10_000 } else { 100 };
        }
        let share = f64::from(bytes[0]) / f64::from(bytes[0] + bytes[1]);
        assert!((0.3..0.7).contains(&share), "{bytes:?}");
    }

    #[test]
    fn each_ones_order_is_kept_and_all_is_taken() {
        let mut fair = Fair::default();
        fill(&mut fair, 1, 700, 50);
        fill(&mut fair, 2, 9000, 50);
        fill(&mut fair, 3, 0, 50);
        let mut next = [0; 3];
        while let Some((client, number)) = taken(&mut fair) {
            assert_eq!(next[client as usize - 1], number);
            next[client as usize - 1] += 1;
        }
        assert_eq!(next, [50; 3]);
        assert!(fair.is_empty() && fair.queues.is_empty());
    }

    #[test]
    fn little_traffic_needs_no_ping_and_much_waits_for_its_answers() {
        let (mut window, now) = (Window::default(), Instant::now());
        assert!(!window.sent(PROBE - 1, now));
        assert!(window.sent(1, now));
        window.asked("a".into(), now);
        assert!(!window.sent(100, now));
        assert!(window.sent(MOST_UNREAD, now));
        assert!(window.is_full(now));
        window.asked("b".into(), now);
        assert!(!window.answered("c"));
        assert!(window.answered("a") && window.is_full(now));
        assert!(window.answered("b") && !window.is_full(now));
        assert!(!window.answered("b"));
    }

    #[test]
    fn a_server_that_never_answers_is_not_waited_for_for_ever() {
        let (mut window, now) = (Window::default(), Instant::now());
        assert!(window.sent(2 * MOST_UNREAD, now));
        window.asked("a".into(), now);
        assert!(window.is_full(now));
        assert!(!window.is_full(now + PATIENCE));
        assert_eq!(window.deadline(), Some(now + PATIENCE));
        // Nor is it asked again and again: the questions would never end.
        assert!(!window.sent(2 * MOST_UNREAD, now + PATIENCE));
        assert!(window.answered("a") && window.sent(1, now + PATIENCE), "it answers after all");
    }
}
