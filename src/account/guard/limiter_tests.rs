//! The counts, by the second.

use std::time::Duration;

use super::*;

const DOMAIN: &str = "example.org";
const WINDOW: u64 = 60;

struct Bench {
    limiter: Limiter,
    start: Instant,
    second: u64,
}

impl Bench {
    /// 10 an address, 5 an account, 15 at the server.
    fn new() -> Bench {
        Bench::with(10, 5, 15, true)
    }

    fn with(per_address: u32, per_account: u32, per_server: u32, limited: bool) -> Bench {
        let limits = LoginLimits { per_address, per_account, per_server, window: Duration::from_secs(WINDOW) };
        let start = Instant::now();
        Bench { limiter: Limiter::new(limits, [(DOMAIN.to_owned(), limited)], start), start, second: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    fn ask(&mut self, address: &str, account: &str) -> Verdict {
        self.ask_with(address, account, Trust::None)
    }

    fn ask_with(&mut self, address: &str, account: &str, trust: Trust) -> Verdict {
        let account = BareJid::new(&format!("{account}@{DOMAIN}")).unwrap();
        let who = Who { address: Some(address.parse().unwrap()), account: Some(&account), domain: DOMAIN, trust };
        let now = self.now();
        self.limiter.ask(&who, now)
    }

    fn go(&mut self, address: &str, account: &str) -> Ticket {
        match self.ask(address, account) {
            Verdict::Go(ticket) => ticket,
            other => panic!("{address} {account}: {other:?}"),
        }
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        let now = self.now();
        self.limiter.settle(ticket, outcome, now);
    }

    fn end(&mut self, address: &str, account: &str, outcome: Outcome) {
        let ticket = self.go(address, account);
        self.settle(ticket, outcome);
    }

    fn fail(&mut self, address: &str, account: &str) {
        self.end(address, account, Outcome::Failure);
    }

    fn succeed(&mut self, address: &str, account: &str) {
        self.end(address, account, Outcome::Success);
    }

    fn refused(&mut self, address: &str, account: &str, limit: Limit) {
        assert_eq!(self.ask(address, account), Verdict::Refused(limit), "{address} {account}");
    }
}

#[test]
fn s03_failures_of_one_address_are_counted() {
    let mut bench = Bench::new();
    for n in 0..10 {
        bench.fail("192.0.2.1", &format!("user{n}"));
    }
    bench.refused("192.0.2.1", "somebody", Limit::Address);
    bench.refused("::ffff:192.0.2.1", "somebody", Limit::Address);
    bench.go("192.0.2.2", "somebody");
}

#[test]
fn s03_an_ipv6_subscriber_is_one_address() {
    let mut bench = Bench::new();
    for n in 0..10 {
        bench.fail(&format!("2001:db8:0:1::{n}"), &format!("user{n}"));
    }
    bench.refused("2001:db8:0:1:ffff::1", "somebody", Limit::Address);
    bench.go("2001:db8:0:2::1", "somebody");
}

#[test]
fn s03_failures_for_one_account_are_counted_from_wherever() {
    let mut bench = Bench::new();
    for n in 0..5 {
        bench.fail(&format!("192.0.2.{n}"), "juliet");
    }
    bench.refused("192.0.2.99", "juliet", Limit::Account);
    bench.go("192.0.2.99", "romeo");
}

#[test]
fn s03_failures_at_one_server_are_counted_in_a_row() {
    let mut bench = Bench::new();
    for n in 0..14 {
        bench.fail(&format!("192.0.2.{n}"), &format!("user{n}"));
    }
    bench.succeed("198.51.100.1", "juliet");
    for n in 0..15 {
        bench.fail(&format!("192.0.3.{n}"), &format!("other{n}"));
    }
    bench.refused("192.0.4.1", "romeo", Limit::Server);
    // A server that is told the clients' addresses counts for itself.
    let mut bench = Bench::with(10, 5, 15, false);
    for n in 0..100 {
        bench.fail(&format!("192.0.2.{n}"), &format!("user{n}"));
    }
    bench.go("192.0.4.1", "romeo");
}

/// At the server a failure may come after the success of which we hear later.
#[test]
fn s03_a_success_forgives_what_was_before_it_began() {
    let mut bench = Bench::new();
    for n in 0..7 {
        bench.fail(&format!("192.0.2.{n}"), &format!("user{n}"));
    }
    let under_way = bench.go("198.51.100.1", "juliet");
    for n in 0..7 {
        bench.fail(&format!("192.0.3.{n}"), &format!("user{n}"));
    }
    bench.settle(under_way, Outcome::Success);
    for n in 0..8 {
        bench.fail(&format!("192.0.4.{n}"), &format!("other{n}"));
    }
    bench.refused("192.0.5.1", "romeo", Limit::Server);
}

#[test]
fn s03_the_window_begins_with_the_last_failure_and_refusals_do_not_extend_it() {
    let mut bench = Bench::new();
    for n in 0..5 {
        bench.second = n * 10;
        bench.fail("192.0.2.1", "juliet");
    }
    for second in [41, 70, 40 + WINDOW - 1] {
        bench.second = second;
        bench.refused("192.0.2.1", "juliet", Limit::Account);
    }
    bench.second = 40 + WINDOW;
    bench.go("192.0.2.1", "juliet");
}

#[test]
fn s03_success_resets_the_account_and_the_server_but_not_the_address() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        for _ in 0..4 {
            bench.fail("192.0.2.1", "juliet");
        }
        bench.succeed("192.0.2.2", "juliet");
    }
    bench.fail("192.0.2.1", "juliet");
    bench.fail("192.0.2.1", "juliet");
    bench.refused("192.0.2.1", "juliet", Limit::Address);
}

#[test]
fn s03_attempts_under_way_count_before_they_fail() {
    let mut bench = Bench::new();
    let mut under_way: Vec<Ticket> = (0..5).map(|n| bench.go(&format!("192.0.2.{n}"), "juliet")).collect();
    assert_eq!(bench.ask("192.0.2.9", "juliet"), Verdict::Wait(Limit::Account));
    bench.settle(under_way.pop().unwrap(), Outcome::Withdrawn);
    under_way.push(bench.go("192.0.2.9", "juliet"));
    for ticket in under_way {
        bench.settle(ticket, Outcome::Failure);
    }
    bench.refused("192.0.2.9", "juliet", Limit::Account);

    let mut bench = Bench::new();
    let under_way: Vec<Ticket> = (0..15).map(|n| bench.go(&format!("192.0.2.{n}"), &format!("user{n}"))).collect();
    assert_eq!(bench.ask("192.0.2.99", "juliet"), Verdict::Wait(Limit::Server));
    for ticket in under_way {
        bench.settle(ticket, Outcome::Success);
    }
    bench.go("192.0.2.99", "juliet");
}

#[test]
fn s03_nobody_is_locked_out_of_her_own_account_from_elsewhere() {
    let mut bench = Bench::new();
    bench.succeed("198.51.100.1", "juliet");
    for n in 0..5 {
        bench.fail(&format!("192.0.2.{n}"), "juliet");
    }
    bench.refused("198.51.100.2", "juliet", Limit::Account);
    bench.succeed("198.51.100.1", "juliet");
    // The whole household fails; who is known there is let in all the same.
    for n in 0..10 {
        bench.fail("198.51.100.1", &format!("child{n}"));
    }
    bench.refused("198.51.100.1", "guest", Limit::Address);
    bench.succeed("198.51.100.1", "juliet");
}

#[test]
fn s03_a_known_pair_may_not_guess_for_ever() {
    let mut bench = Bench::new();
    bench.succeed("198.51.100.1", "juliet");
    let under_way: Vec<Ticket> = (0..5).map(|_| bench.go("198.51.100.1", "juliet")).collect();
    assert_eq!(bench.ask("198.51.100.1", "juliet"), Verdict::Wait(Limit::Account));
    for ticket in under_way {
        bench.settle(ticket, Outcome::Failure);
    }
    // Unknown again: counted like anybody from here on.
    for _ in 0..5 {
        bench.fail("198.51.100.1", "juliet");
    }
    bench.refused("198.51.100.1", "juliet", Limit::Account);
    bench.go("198.51.100.1", "romeo");
}

#[test]
fn s03_one_stale_phone_does_not_lock_a_household_out() {
    let mut bench = Bench::new();
    bench.succeed("198.51.100.1", "juliet");
    for _ in 0..5 {
        bench.fail("198.51.100.1", "juliet");
        bench.succeed("203.0.113.1", "nurse");
    }
    bench.go("198.51.100.1", "romeo");
    bench.go("198.51.100.9", "juliet");
}

#[test]
fn s03_the_servers_count_keeps_a_reserve_for_who_is_known() {
    let mut bench = Bench::new();
    for n in 0..8 {
        bench.succeed("198.51.100.1", &format!("known{n}"));
    }
    for n in 0..15 {
        bench.fail(&format!("192.0.2.{n}"), &format!("user{n}"));
    }
    bench.refused("192.0.2.99", "somebody", Limit::Server);
    for n in 0..3 {
        bench.fail("198.51.100.1", &format!("known{n}"));
    }
    bench.refused("198.51.100.1", "known5", Limit::Server);
    // The last before ejabberd's twentieth is for a password that is known to be right.
    let Verdict::Go(_) = bench.ask_with("192.0.2.99", "known5", Trust::Vouched) else { panic!("vouched") };
    assert_eq!(bench.ask_with("192.0.2.98", "known6", Trust::Vouched), Verdict::Wait(Limit::Server));
    // To ask whether the kept keys fit costs nothing at the server, but a guess is a guess.
    for _ in 0..5 {
        let Verdict::Go(ticket) = bench.ask_with("192.0.2.97", "known6", Trust::Asking) else { panic!("asking") };
        bench.settle(ticket, Outcome::Unanswered);
    }
    assert_eq!(bench.ask_with("192.0.2.97", "known6", Trust::Asking), Verdict::Refused(Limit::Account));
}

#[test]
fn s03_what_is_cut_by_the_server_does_not_count_there() {
    let mut bench = Bench::with(100, 100, 3, true);
    for n in 0..10 {
        bench.end("192.0.2.1", &format!("user{n}"), Outcome::Unanswered);
    }
    for n in 0..10 {
        bench.end("192.0.2.1", &format!("user{n}"), Outcome::Withdrawn);
    }
    let (address, now) = ("192.0.2.1".parse().unwrap(), bench.now());
    (0..90).for_each(|_| bench.limiter.failed_unasked(address, now));
    bench.refused("192.0.2.1", "juliet", Limit::Address);
    bench.go("192.0.2.2", "juliet");
}

/// Another's flood of addresses neither resets a count nor makes anybody unknown; and it takes no memory.
#[test]
fn s03_memory_is_bounded_and_a_flood_resets_nothing() {
    let mut bench = Bench::with(10, 5, 1_000_000, true);
    bench.limiter.addresses.most = 800;
    bench.limiter.accounts.most = 800;
    bench.limiter.most = 80;
    bench.succeed("198.51.100.1", "juliet");
    for n in 0..9 {
        bench.fail("192.0.2.1", &format!("guessed{n}"));
    }
    let under_way = bench.go("203.0.113.1", "nurse");
    for n in 0..10_000u32 {
        let address = std::net::Ipv6Addr::from_bits((u128::from(n) << 64) | (0x2001 << 112));
        bench.fail(&address.to_string(), &format!("user{n}"));
    }
    assert!(bench.limiter.addresses.map.len() <= 800 && bench.limiter.accounts.map.len() <= 800);
    bench.fail("192.0.2.1", "balthasar");
    bench.refused("192.0.2.1", "balthasar", Limit::Address);
    bench.settle(under_way, Outcome::Success);
    // One account at many addresses pushes out its own pairs only; many accounts, the oldest.
    for n in 0..50 {
        bench.succeed(&format!("203.0.113.{n}"), "mercutio");
    }
    assert!(bench.limiter.known.values().all(|known| known.addresses.len() <= MOST_ADDRESSES));
    assert_eq!(bench.limiter.known.len(), 3);
    for n in 0..1000 {
        bench.second += 1;
        bench.succeed("203.0.113.200", &format!("account{n}"));
        bench.succeed("198.51.100.1", "juliet");
    }
    assert!(bench.limiter.known.len() <= 80);
    for n in 0..5 {
        bench.fail(&format!("192.0.7.{n}"), "juliet");
    }
    bench.succeed("198.51.100.1", "juliet");
}

#[test]
fn what_has_expired_is_swept() {
    let mut bench = Bench::with(10, 5, 1_000_000, true);
    bench.limiter.addresses.most = 100;
    for n in 0..100 {
        bench.fail(&format!("192.0.2.{n}"), "juliet");
        bench.limiter.accounts.map.clear();
    }
    bench.second = WINDOW;
    bench.fail("198.51.100.1", "romeo");
    assert_eq!(bench.limiter.addresses.map.len(), 1);
    bench.succeed("198.51.100.1", "romeo");
    assert_eq!(bench.limiter.accounts.map.len(), 0, "nothing is kept of an account without failures");
}
