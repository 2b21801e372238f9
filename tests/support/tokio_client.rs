//! tokio-xmpp, the second real client: other foundations (Rust, rustls, its own XML parser) than slixmpp's, and one
//! that speaks XEP-0198 and reconnects by itself.
//!
//! It takes its trusted authority only from `SSL_CERT_FILE`, so it runs in a process of its own: the test binary
//! itself, started again for the one test [`tokio_client_process`]. It speaks the JSON lines of [`super::driver`].
//! Its stanzas are what it made of them, not the bytes it received; [`make`] builds what it sends, [`seen`] tells what it
//! understood.

mod make;
mod seen;

use super::driver::Driver;
use futures::StreamExt;
use seen::Rooms;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tokio::sync::mpsc;
use tokio_xmpp::connect::DnsConfig;
use tokio_xmpp::jid::Jid;
use tokio_xmpp::parsers::presence::Presence;
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Client, Event, PrintRawXml};

const MARK: &str = "MINIMIX_TOKIO_CLIENT";

/// Starts the process, which trusts `ca` and nobody else.
pub fn start(ca: &Path) -> Driver {
    let mut command = Command::new(std::env::current_exe().expect("the test's own binary"));
    command.args(["--exact", "support::tokio_client::tokio_client_process", "--ignored", "--nocapture"]);
    command.env("SSL_CERT_FILE", ca).env_remove("SSL_CERT_DIR").env(MARK, "1").stderr(Stdio::null());
    Driver::start(command)
}

#[test]
#[ignore = "not a test: the process in which tokio-xmpp clients run, started by tests"]
fn tokio_client_process() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    println!(); // end the test runner's own line
    let mut clients: HashMap<String, mpsc::UnboundedSender<Value>> = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let command: Value = serde_json::from_str(&line).expect("commands are JSON");
        let name = command["client"].as_str().unwrap_or_default().to_owned();
        if command["do"] == "connect" {
            let (send, receive) = mpsc::unbounded_channel();
            clients.insert(name.clone(), send);
            std::thread::spawn(move || session(name, command, receive));
        } else if clients.get(&name).is_none_or(|c| c.send(command.clone()).is_err()) {
            refuse(&command, "NotConnected", "this client is not connected");
        }
    }
    std::process::exit(0);
}

/// One client from its login to its end, on a runtime of its own: dropping that is the network's sudden death.
fn session(name: String, login: Value, commands: mpsc::UnboundedReceiver<Value>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(talk(&name, login, commands));
    drop(runtime);
    emit(json!({ "event": "disconnected", "client": name, "text": "" }));
}

async fn talk(name: &str, login: Value, mut commands: mpsc::UnboundedReceiver<Value>) {
    let text = |key: &str| login[key].as_str().unwrap_or_default().to_owned();
    let address = DnsConfig::addr(&format!("{}:{}", text("host"), login["port"]));
    let jid = match Jid::new(&text("jid")) {
        Ok(jid) => jid,
        Err(error) => return refuse(&login, "BadJid", &error.to_string()),
    };
    let mut client = match login["tls"].as_str() {
        Some("direct") => Client::new_direct_tls_with_config(jid, text("password"), address, Timeouts::default()),
        _ => Client::new_starttls(jid, text("password"), address, Timeouts::default()),
    };
    let mut waiting = Some(login.clone());
    let mut rooms = Rooms::default();
    loop {
        tokio::select! {
            event = client.next() => match event {
                Some(Event::Online { bound_jid, .. }) => {
                    emit(json!({ "event": "connected", "client": name, "jid": bound_jid.to_string() }));
                    if login["presence"] != false {
                        let _ = client.send_stanza(Presence::available().into()).await;
                    }
                    if let Some(command) = waiting.take() {
                        accept(&command, json!({ "jid": bound_jid.to_string() }));
                    }
                }
                Some(Event::Stanza(stanza)) => {
                    emit(json!({ "event": "stanza", "client": name, "xml": PrintRawXml(&stanza).to_string() }));
                    let (understood, next) = rooms.take(stanza);
                    if let Some(mut event) = understood.filter(|_| login["parsed"] == true) {
                        event["event"] = "parsed".into();
                        event["client"] = name.into();
                        emit(event);
                    }
                    if let Some(next) = next {
                        let _ = client.send_stanza(next).await;
                    }
                }
                Some(Event::Disconnected(error)) => {
                    emit(json!({ "event": "failed_auth", "client": name, "text": error.to_string() }));
                    if let Some(command) = waiting.take() {
                        return refuse(&command, "Disconnected", &error.to_string());
                    }
                }
                None => return,
            },
            command = commands.recv() => {
                let Some(command) = command else { return };
                match command["do"].as_str() {
                    Some("cut") => return accept(&command, json!({})),
                    Some("disconnect") => {
                        let _ = client.send_end().await;
                        return accept(&command, json!({}));
                    }
                    Some("view") => {
                        let room = command["room"].as_str().unwrap_or_default();
                        accept(&command, json!({ "occupants": rooms.occupants(room) }));
                    }
                    _ => send(&mut client, &mut rooms, &command).await,
                }
            }
        }
    }
}

/// Sends the command's stanza, and answers it unless something is to come first.
async fn send(client: &mut Client, rooms: &mut Rooms, command: &Value) {
    let stanza = if command["do"] == "grant_voice" { rooms.grant() } else { make::stanza(command) };
    let Some(stanza) = stanza else { return refuse(command, "NotSent", "not a stanza") };
    let waits = rooms.waits(command);
    match client.send_stanza(stanza).await {
        Ok(_) if waits => {}
        Ok(_) => accept(command, json!({})),
        Err(error) => refuse(command, "NotSent", &error.to_string()),
    }
}

fn emit(event: Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}

fn accept(command: &Value, mut answer: Value) {
    answer["event"] = "result".into();
    answer["req"] = command["req"].clone();
    answer["ok"] = true.into();
    emit(answer);
}

fn refuse(command: &Value, error: &str, text: &str) {
    emit(json!({ "event": "result", "req": command["req"], "ok": false, "error": error, "text": text }));
}
