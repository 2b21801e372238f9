//! ejabberd's configuration and quirks.
//!
//! It runs as an Erlang node without a name: no epmd, no cookie, nothing shared with another ejabberd on the machine.
//! Instead of `ejabberdctl` (which needs a node's name) it evaluates what comes on its standard input.

use super::{PATIENCE, Server};
use std::io::Write;

pub(super) fn configure(server: &Server) {
    let dir = server.dir.path();
    let mut text = TEMPLATE
        .replace("@dir@", &dir.display().to_string())
        .replace("@starttls@", &server.ports.starttls.to_string())
        .replace("@direct_tls@", &server.ports.direct_tls.to_string())
        .replace("@format@", if server.options.hashed { "scram" } else { "plain" })
        .replace("@cert@", &server.certs.both.display().to_string())
        .replace("@ca@", &server.certs.ca.display().to_string())
        .replace("@muc@", &server.options.muc.iter().map(|option| format!("\n    {option}")).collect::<String>())
        .replace("@extra@", &server.options.extra);
    let plain = match server.options.plaintext {
        true => PLAIN.replace("@plain@", &server.ports.plain.to_string()),
        false => String::new(),
    };
    let proxied = match server.options.proxy_protocol {
        true => PROXIED
            .replace("@proxied@", &server.ports.proxied.to_string())
            .replace("@proxied_tls@", &server.ports.proxied_tls.to_string()),
        false => String::new(),
    };
    let mechanisms = match server.options.channel_binding {
        true => "",
        false => "disable_sasl_mechanisms: [SCRAM-SHA-1-PLUS, SCRAM-SHA-256-PLUS, SCRAM-SHA-512-PLUS]",
    };
    text = text.replace("@plain_listener@", &(plain + &proxied)).replace("@mechanisms@", mechanisms);
    std::fs::write(dir.join("ejabberd.yml"), text).expect("write ejabberd's configuration");
}

pub(super) fn command(server: &Server) -> Vec<String> {
    let dir = server.dir.path().display();
    let mut users = String::new();
    for (user, password) in &server.options.users {
        users += &format!("ejabberd_auth:try_register(<<{user:?}>>, <<\"localhost\">>, <<{password:?}>>), ");
    }
    let start = format!("{users} io:format(\"{READY}~n\"), {READ_EVAL_PRINT}");
    let environment = [
        format!("HOME={dir}"),
        format!("ERL_LIBS={}", libraries()),
        format!("EJABBERD_CONFIG_PATH={dir}/ejabberd.yml"),
        format!("EJABBERD_LOG_PATH={dir}/server.log"),
        "ERL_CRASH_DUMP_BYTES=0".to_owned(),
    ];
    let erl =
        ["erl", "+S", "2:2", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "-noshell", "-mnesia", "dir"];
    let mut command = vec!["env".to_owned()];
    command.extend(environment);
    command.extend(erl.map(str::to_owned));
    command.push(format!("\"{dir}/db\""));
    command.extend(["-s", "ejabberd", "-eval", &start].map(str::to_owned));
    command
}

/// Where Debian put ejabberd: `/usr/lib/<architecture>/ejabberd-<version>`.
fn libraries() -> String {
    let holds_it = |dir: &std::path::Path| {
        let inside = std::fs::read_dir(dir).into_iter().flatten().flatten();
        inside.into_iter().any(|e| e.file_name().to_string_lossy().starts_with("ejabberd-"))
    };
    let mut places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|e| e.path());
    let found = places.find(|p| holds_it(p)).expect("ejabberd under /usr/lib: apt-get install ejabberd");
    found.display().to_string()
}

pub(super) fn port_taken(log: &str) -> bool {
    log.contains("eaddrinuse") || log.contains("address already in use") || log.contains("Failed to open socket")
}

pub(super) fn ready(server: &Server, log: &str) -> bool {
    let mut ports = vec![server.ports.starttls, server.ports.direct_tls];
    if server.options.plaintext {
        ports.push(server.ports.plain);
    }
    if server.options.proxy_protocol {
        ports.extend([server.ports.proxied, server.ports.proxied_tls]);
    }
    let open = |p: &u16| log.contains(&format!("connections at 127.0.0.1:{p} "));
    let output = std::fs::read_to_string(server.dir.path().join("output.log")).unwrap_or_default();
    output.lines().any(|l| l == READY) && ports.iter().all(open)
}

pub(super) fn control(server: &mut Server, command: &str) -> String {
    let running = server.running.as_mut().expect("the server runs");
    let stdin = running.stdin.as_mut().expect("ejabberd's standard input");
    writeln!(stdin, "{command}").and_then(|()| stdin.flush()).expect("write to ejabberd");
    loop {
        let line = running.output.recv_timeout(PATIENCE).expect("ejabberd answers");
        if let Some(answer) = line.strip_prefix("= ") {
            return answer.to_owned();
        }
    }
}

pub(super) fn address_of(server: &mut Server, jid: &str) -> String {
    let (bare, resource) = jid.split_once('/').expect("a full JID");
    let user = bare.split('@').next().unwrap_or_default();
    let ip = format!("ejabberd_sm:get_user_ip(<<{user:?}>>, <<\"localhost\">>, <<{resource:?}>>)");
    let answer = control(server, &format!("case {ip} of undefined -> none; {{Ip, _}} -> inet:ntoa(Ip) end."));
    answer.trim_matches('"').to_owned()
}

pub(super) fn set_password(server: &mut Server, user: &str, password: &str) {
    let (user, password) = (format!("<<{user:?}>>"), format!("<<{password:?}>>"));
    control(server, &format!("ejabberd_auth:try_register({user}, <<\"localhost\">>, {password})."));
    let answer = control(server, &format!("ejabberd_auth:set_password({user}, <<\"localhost\">>, {password})."));
    assert_eq!(answer, "ok", "ejabberd sets a password");
    control(server, "lists:foreach(fun dets:sync/1, dets:all())."); // else a kill would forget it
}

/// Printed when ejabberd runs and its users exist.
const READY: &str = "READY";

/// Erlang: evaluates each line of standard input, prints `= value`; ends the node at the end of the input.
const READ_EVAL_PRINT: &str = r#"
    Loop = fun(Again) ->
        case io:get_line("") of
            eof -> init:stop();
            Line ->
                Answer = try
                    {ok, Tokens, _} = erl_scan:string(Line),
                    {ok, Parsed} = erl_parse:parse_exprs(Tokens),
                    {value, Value, _} = erl_eval:exprs(Parsed, []),
                    Value
                catch Class:Why -> {Class, Why} end,
                io:format("= ~0p~n", [Answer]),
                Again(Again)
        end
    end,
    spawn(fun() -> Loop(Loop) end)."#;

const PLAIN: &str = r#"
  - port: @plain@
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 1048576
"#;

const PROXIED: &str = r#"
  - port: @proxied@
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 1048576
    use_proxy_protocol: true
    starttls: true
    starttls_required: true
  - port: @proxied_tls@
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 1048576
    use_proxy_protocol: true
    tls: true
"#;

const TEMPLATE: &str = r#"
hosts: [localhost]
loglevel: info
certfiles: ["@cert@"]
ca_file: "@ca@"
acme:
  auto: false
auth_method: internal
auth_password_format: @format@
s2s_access: none
listen:
  - port: @starttls@
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 1048576
    starttls: true
    starttls_required: true
  - port: @direct_tls@
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 1048576
    tls: true
@plain_listener@
@mechanisms@
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
modules:
  mod_adhoc: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_last: {}
  mod_mam:
    default: always
  mod_muc:
    host: conference.localhost
    access_create: all@muc@
    default_room_options:
      allow_private_messages: true
      mam: true
  mod_offline: {}
  mod_ping: {}
  mod_privacy: {}
  mod_private: {}
  mod_pubsub:
    plugins: [flat, pep]
    last_item_cache: false
  mod_push: {}
  mod_register:
    ip_access: all
    access: all
    password_strength: 0
  mod_roster: {}
  mod_stream_mgmt:
    resend_on_timeout: if_offline
  mod_vcard: {}
  mod_vcard_xupdate: {}
  mod_version:
    show_os: false
@extra@
"#;
