//! tokio-xmpp, the second real client: other foundations (Rust, rustls, its own XML parser) than slixmpp's, and one
//! that speaks XEP-0198 and reconnects by itself.
//!
//! It takes its trusted authority only from `SSL_CERT_FILE`, so it runs in a process of its own: the test binary
//! itself, started again for the one test [`tokio_client_process`]. It speaks the JSON lines of [`super::driver`];
//! `view` and `nick` are slixmpp's alone. Its stanzas are what it made of them, not the bytes it received.

use super::driver::Driver;
use futures::StreamExt;
use quick_xml::escape::escape;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tokio::sync::mpsc;
use tokio_xmpp::connect::DnsConfig;
use tokio_xmpp::jid::Jid;
use tokio_xmpp::minidom::Element;
use tokio_xmpp::parsers::{iq::Iq, message::Message, presence::Presence};
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Client, Event, PrintRawXml, Stanza};

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
    let mut joins: HashMap<String, (Value, Vec<Value>)> = HashMap::new();
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
                    let xml = PrintRawXml(&stanza).to_string();
                    emit(json!({ "event": "stanza", "client": name, "xml": xml }));
                    watch_joins(&mut joins, &xml);
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
                    Some("join") => {
                        let room = command["room"].as_str().unwrap_or_default().to_owned();
                        joins.insert(room, (command.clone(), Vec::new()));
                        send(&mut client, &command).await;
                    }
                    _ => match send(&mut client, &command).await {
                        true => accept(&command, json!({})),
                        false => refuse(&command, "NotSent", "not a stanza, or not connected"),
                    },
                }
            }
        }
    }
}

/// A join ends with the subject, as on slixmpp; until then its occupants are collected.
fn watch_joins(joins: &mut HashMap<String, (Value, Vec<Value>)>, xml: &str) {
    let Ok(stanza) = xml.parse::<Element>() else { return };
    let from = stanza.attr("from").unwrap_or_default();
    let (room, nick) = from.split_once('/').unwrap_or((from, ""));
    let Some((command, seen)) = joins.get_mut(room) else { return };
    if stanza.attr("type") == Some("error") {
        let error = stanza.get_child("error", "jabber:client").and_then(|e| e.children().next());
        refuse(command, error.map_or("error", Element::name), xml);
        joins.remove(room);
    } else if stanza.name() == "presence" && !nick.is_empty() {
        let item = stanza.children().find(|x| x.name() == "x").and_then(|x| x.children().find(|i| i.name() == "item"));
        let of = |key: &str| item.and_then(|i| i.attr(key)).unwrap_or_default().to_owned();
        seen.push(json!({
            "nick": nick, "role": of("role"), "affiliation": of("affiliation"), "jid": of("jid"),
        }));
    } else if stanza.name() == "message" && stanza.children().any(|c| c.name() == "subject") {
        accept(command, json!({ "occupants": seen }));
        joins.remove(room);
    }
}

/// Makes the command's stanza and sends it.
async fn send(client: &mut Client, command: &Value) -> bool {
    let text = |key: &str| escape(command[key].as_str().unwrap_or_default()).into_owned();
    let occupant = format!("{}/{}", text("room"), text("nick"));
    let xml = match command["do"].as_str() {
        Some("raw") => command["xml"].as_str().unwrap_or_default().to_owned(),
        Some("join") => format!("<presence to='{occupant}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
        Some("leave") => format!("<presence to='{occupant}' type='unavailable'/>"),
        Some("message") => {
            let (to, kind, id) = (text("to"), text("type"), text("id"));
            format!("<message to='{to}' type='{kind}' id='{id}'><body>{}</body></message>", text("body"))
        }
        Some("presence") => {
            let given = |key: &str| command[key].is_string();
            let attribute = |key: &str| if given(key) { format!(" {key}='{}'", text(key)) } else { String::new() };
            let child = |key: &str| if given(key) { format!("<{key}>{}</{key}>", text(key)) } else { String::new() };
            let (attributes, children) = (attribute("to") + &attribute("type"), child("show") + &child("status"));
            format!("<presence{attributes}>{children}</presence>")
        }
        _ => return false,
    };
    send_xml(client, &xml).await
}

async fn send_xml(client: &mut Client, xml: &str) -> bool {
    let Ok(element) = Element::from_reader_with_prefixes(xml.as_bytes(), "jabber:client".to_owned()) else {
        return false;
    };
    let stanza = match element.name() {
        "message" => Message::try_from(element).map(Stanza::from).ok(),
        "presence" => Presence::try_from(element).map(Stanza::from).ok(),
        _ => Iq::try_from(element).map(Stanza::from).ok(),
    };
    match stanza {
        Some(stanza) => client.send_stanza(stanza).await.is_ok(),
        None => false,
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
