//! A client's stream before STARTTLS.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tracing::{debug, info};

use super::accept::from_client;
use super::closing::close;
use crate::net::link::Link;
use crate::stream::negotiation::{Action, Input, Negotiation};
use crate::xmpp::conditions::StreamCondition;

/// The stream before STARTTLS.
pub(super) struct Plaintext {
    pub(super) link: Link<TcpStream>,
    pub(super) peer: SocketAddr,
}

pub(super) type Stop = (StreamCondition, String);

impl Plaintext {
    /// True: `<proceed/>` has been sent. False: the stream has ended.
    pub(super) async fn run(&mut self, machine: &mut Negotiation) -> Result<bool, Stop> {
        let mut actions = Vec::new();
        loop {
            let event = self.link.drive(machine.wants_client()).await;
            machine.handle(from_client(event), &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Down(bytes) => self.link.queue(&bytes),
                    // What stands behind <starttls/> in plaintext would be taken as secured (CVE-2011-0411).
                    Action::StartTls(_) if self.link.unread() > 0 => {
                        return Err((StreamCondition::PolicyViolation, "plaintext behind <starttls/>".to_owned()));
                    }
                    Action::StartTls(proceed) => {
                        self.link.queue(&proceed);
                        let flushed = self.link.flush().await;
                        return flushed
                            .map(|()| true)
                            .map_err(|_| (StreamCondition::UndefinedCondition, String::new()));
                    }
                    Action::End(why) => {
                        // Who says nothing at all only looks whether somebody listens (health checks).
                        match self.link.received() {
                            0 => debug!(peer = %self.peer, why, "connection ended without a word"),
                            _ => info!(peer = %self.peer, why, "stream ended before TLS"),
                        }
                        return Ok(false);
                    }
                    // There is no server before TLS.
                    _ => {}
                }
            }
        }
    }

    pub(super) async fn stop<T>(mut self, machine: &mut Negotiation, stop: Stop) -> Option<T> {
        let mut actions = Vec::new();
        machine.handle(Input::Stop { down: stop, up: None }, &mut actions);
        for action in actions {
            match action {
                Action::Down(bytes) => self.link.queue(&bytes),
                Action::End(why) => info!(peer = %self.peer, why, "stream ended before TLS"),
                _ => {}
            }
        }
        self.close().await
    }

    pub(super) async fn close<T>(self) -> Option<T> {
        close(self.link).await;
        None
    }
}
