//! Prosody's configuration and quirks.

use super::Server;
use std::path::PathBuf;
use std::process::Command;

pub(super) fn configure(server: &Server) {
    let dir = server.dir.path();
    let accounts = dir.join("data/localhost/accounts");
    std::fs::create_dir_all(&accounts).expect("make Prosody's data directory");
    for (user, password) in &server.options.users {
        // With `internal_hashed` Prosody itself turns this into keys at the first login.
        let account = format!("return {{ [\"password\"] = {password:?}; }};\n");
        std::fs::write(accounts.join(file(user)), account).expect("write an account");
    }
    std::fs::create_dir_all(dir.join("certs")).expect("make Prosody's certificate directory");
    let text = TEMPLATE
        .replace("@dir@", &dir.display().to_string())
        .replace("@starttls@", &server.ports.starttls.to_string())
        .replace("@direct_tls@", &server.ports.direct_tls.to_string())
        .replace("@require_tls@", &(!server.options.plaintext).to_string())
        .replace("@authentication@", if server.options.hashed { "internal_hashed" } else { "internal_plain" })
        .replace("@locked@", &server.options.locked_rooms.to_string())
        .replace("@protocol@", if server.options.channel_binding { "tlsv1_2+" } else { "tlsv1_3" })
        .replace("@cert@", &server.certs.chain.display().to_string())
        .replace("@key@", &server.certs.key.display().to_string())
        .replace("@modules@", &more_modules(server))
        .replace("@proxied@", &proxied(server))
        .replace("@extra@", &server.options.extra);
    std::fs::write(dir.join("prosody.cfg.lua"), text).expect("write Prosody's configuration");
}

fn more_modules(server: &Server) -> String {
    let proxied = server.options.proxy_protocol.then_some("net_proxy");
    server.options.modules.iter().copied().chain(proxied).map(|name| format!("{name:?}, ")).collect()
}

/// The file in which Prosody looks for an account.
fn file(user: &str) -> String {
    let encoded = |b: u8| match b.is_ascii_alphanumeric() {
        true => char::from(b).to_string(),
        false => format!("%{b:02x}"),
    };
    user.bytes().map(encoded).collect::<String>() + ".dat"
}

/// Lines for a port that expects a PROXY protocol header.
fn proxied(server: &Server) -> String {
    if !server.options.proxy_protocol {
        return String::new();
    }
    let (modules, port) = (modules().display().to_string(), server.ports.proxied);
    format!(
        "plugin_paths = {{ {modules:?} }}\n\
         proxy_port_mappings = {{ [{port}] = \"c2s\" }}\nproxy_trusted_proxies = {{ \"127.0.0.1\" }}\n"
    )
}

/// Where `mod_net_proxy` of prosody-modules is: in `MINIMIX_PROSODY_MODULES`, or where `lab/install` put it.
fn modules() -> PathBuf {
    let given = std::env::var_os("MINIMIX_PROSODY_MODULES").map(PathBuf::from);
    let modules = given.unwrap_or_else(|| crate::support::source("lab/.state/prosody-modules"));
    let module = modules.join("mod_net_proxy/mod_net_proxy.lua");
    let remedy = "run lab/install prosody-modules, or name a directory that has it in MINIMIX_PROSODY_MODULES";
    assert!(module.exists(), "no {}: {remedy}", module.display());
    modules
}

pub(super) fn command(server: &Server) -> Vec<String> {
    let config = server.dir.path().join("prosody.cfg.lua").display().to_string();
    ["prosody", "--config", &config, "-F"].map(str::to_owned).into()
}

pub(super) fn port_taken(log: &str) -> bool {
    log.contains("Failed to open server port")
}

pub(super) fn ready(server: &Server, log: &str) -> bool {
    let opened = |service: &str, port| log.contains(&format!("Activated service '{service}' on [127.0.0.1]:{port}"));
    let proxied = || opened("proxy", server.ports.proxied) || !server.options.proxy_protocol;
    opened("c2s", server.ports.starttls) && opened("c2s_direct_tls", server.ports.direct_tls) && proxied()
}

pub(super) fn control(server: &Server, command: &str) -> String {
    let config = server.dir.path().join("prosody.cfg.lua");
    let run = Command::new("prosodyctl").arg("--config").arg(config).args(["shell", command]).output();
    let run = run.expect("run prosodyctl");
    assert!(run.status.success(), "prosodyctl shell {command:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).into_owned()
}

pub(super) fn address_of(server: &Server, jid: &str) -> String {
    let answer = control(server, &format!("> prosody.full_sessions[{jid:?}].ip"));
    // Below what prosodyctl says of missing libraries.
    let result = answer.lines().find_map(|line| line.trim_start_matches(['|', ' ']).strip_prefix("Result: "));
    result.unwrap_or_else(|| panic!("no result: {answer}")).trim().to_owned()
}

pub(super) fn set_password(server: &Server, user: &str, password: &str) {
    let exists = server.dir.path().join(format!("data/localhost/accounts/{}", file(user))).exists();
    let verb = if exists { "password" } else { "create" };
    control(server, &format!("user:{verb}({:?}, {password:?})", format!("{user}@localhost")));
}

const TEMPLATE: &str = r#"
run_as_root = true
data_path = "@dir@/data"
certificates = "@dir@/certs"
pidfile = "@dir@/prosody.pid"
log = { info = "@dir@/server.log" }
interfaces = { "127.0.0.1" }
c2s_ports = { @starttls@ }
c2s_direct_tls_ports = { @direct_tls@ }
s2s_ports = {}
modules_enabled = {
    "admin_shell", "blocklist", "bookmarks", "carbons", "csi_simple", "disco", "mam", "offline", "pep", "ping",
    "posix", "private", "register", "roster", "saslauth", "smacks", "time", "tls", "vcard4", "vcard_legacy", "version",
    @modules@
}
modules_disabled = { "s2s" }
c2s_require_encryption = @require_tls@
allow_unencrypted_plain_auth = not c2s_require_encryption
authentication = "@authentication@"
tls_preload = false
ssl = { certificate = "@cert@", key = "@key@", protocol = "@protocol@" }
@proxied@
@extra@

VirtualHost "localhost"

Component "conference.localhost" "muc"
    modules_enabled = { "muc_mam" }
    muc_room_locking = @locked@
    restrict_room_creation = false
"#;
