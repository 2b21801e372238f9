use super::*;
use crate::xml::framer;

const FILE: &str = r#"
data = "data"
[[listen]]
address = "127.0.0.1:5222"
[[listen]]
address = "[::]:5223"
tls = "direct"
auth = "mixed"
[[domain]]
name = "Example.ORG"
certificate = "c.pem"
key = "/etc/k.pem"
[domain.upstream]
address = "xmpp.example.org:5222"
ca = "ca.pem"
[limits]
dial_timeout = "250ms"
client_queue_bytes = "16 MiB"
"#;

fn flags() -> Flags {
    Flags {
        domain: Some("localhost".into()),
        listen: Some("127.0.0.1:5222".into()),
        upstream: Some("127.0.0.1:15222".into()),
        cert: Some("cert.pem".into()),
        key: Some("key.pem".into()),
        data: Some("data".into()),
        ..Flags::default()
    }
}

fn in_file() -> Flags {
    Flags { config: Some("/etc/minimix/p.toml".into()), ..Flags::default() }
}

fn error(text: &str) -> String {
    Config::from_toml(text, &in_file()).unwrap_err().to_string()
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let config = Config::from_toml(FILE, &in_file()).unwrap();
    assert_eq!(config.data, Path::new("/etc/minimix/data"));
    assert_eq!(config.key_file, Path::new("/etc/minimix/data.key"));
    assert_eq!(config.listen[0].auth, Auth::Learn);
    assert_eq!(config.listen[1].tls, ListenTls::Direct);
    let domain = &config.domains[0];
    assert_eq!(domain.name, "example.org");
    assert_eq!(domain.certificate, Path::new("/etc/minimix/c.pem"));
    assert_eq!(domain.key, Path::new("/etc/k.pem"));
    assert_eq!(domain.upstream.tls, UpstreamTls::StartTls);
    assert!(domain.upstream.keep_password && !domain.upstream.allow_plain);
    assert_eq!(config.limits.dial_timeout, Duration::from_millis(250));
    assert_eq!(config.limits.client_queue_bytes, 16 << 20);
    assert_eq!(config.limits.before_login(), framer::Limits::BEFORE_LOGIN);
    assert_eq!(config.limits.after_login(), framer::Limits::AFTER_LOGIN);
    assert_eq!(config.rooms.offline_ttl, Duration::from_secs(7 * 86400));
    assert_eq!(config.log.level, "info");
}

#[test]
fn limits_fit_each_other() {
    let load = |limits: &str| Config::from_toml(&FILE.replace("[limits]", &format!("[limits]\n{limits}")), &in_file());
    let few = load("connections = 20\nstanzas_per_second = 0\nbytes_per_second = 5").unwrap().limits;
    assert_eq!((few.connections_per_address, few.connections_before_login), (20, 20));
    assert_eq!((few.connections_before_login_per_address, few.stanza_rate), (20, None));
    assert_eq!(few.byte_rate, Some(Rate { per_second: 5, burst: 4 << 20 }));
    let error = load("connections = 20\nconnections_per_address = 21").unwrap_err().to_string();
    assert!(error.contains("limits.connections_per_address 21 is out of bounds"), "{error}");
    let rooms = |rooms: &str| Config::from_toml(&format!("{FILE}\n{rooms}"), &in_file());
    let memory = rooms("[rooms]\nmemory = '1 MiB'").unwrap().rooms;
    assert_eq!((memory.memory, memory.memory_per_account), (1 << 20, 1 << 20));
    let error = rooms("[rooms]\nmemory = '1 MiB'\nmemory_per_account = '2 MiB'").unwrap_err().to_string();
    assert!(error.contains("rooms.memory_per_account 2097152 is out of bounds"), "{error}");
    let file = FILE.replace("auth = \"mixed\"", "auth = \"mixed\"\nproxy_protocol = ['10.0.0.0/8', '::1/128']");
    let config = Config::from_toml(&file, &in_file()).unwrap();
    assert!(config.listen[1].proxy_protocol[0].contains(&"10.1.2.3".parse::<std::net::IpAddr>().unwrap()));
}

#[test]
fn the_example_parses() {
    let text = include_str!("../../minimix-proxy.example.toml");
    Config::from_toml(text, &in_file()).unwrap();
    // What it shows commented out are the defaults: they parse too, and change nothing.
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix("#").filter(|l| !l.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = Config::from_toml(&all, &in_file()).unwrap();
    let plain = Config::from_toml(text, &in_file()).unwrap();
    assert_eq!(config.limits, plain.limits);
    assert_eq!(config.rooms, plain.rooms);
    assert_eq!(config.log, plain.log);
}

#[test]
fn flags_alone_are_a_configuration() {
    let config = Config::load(&flags()).unwrap();
    let address = "127.0.0.1:5222".parse().unwrap();
    let proxy_protocol = Vec::new();
    assert_eq!(config.listen, [Listen { address, tls: ListenTls::StartTls, auth: Auth::Learn, proxy_protocol }]);
    let address = config.domains[0].upstream.address.as_ref().unwrap();
    assert_eq!(address.to_string(), "127.0.0.1:15222");
    let both = Flags { listen_tls: Some("127.0.0.1:5223".into()), auth: Some(Auth::Relay), ..flags() };
    let config = Config::load(&both).unwrap();
    assert_eq!(config.listen[1].tls, ListenTls::Direct);
    assert!(config.listen.iter().all(|l| l.auth == Auth::Relay));
}

#[test]
fn flags_win_over_the_file() {
    let over = Flags {
        data: Some("/d".into()),
        upstream: Some("[::1]:1".into()),
        upstream_tls: Some(UpstreamTls::Direct),
        auth: Some(Auth::Mixed),
        ..in_file()
    };
    let config = Config::from_toml(FILE, &over).unwrap();
    assert_eq!(config.data, Path::new("/d"));
    assert_eq!(config.domains[0].upstream.address, Some(Address { host: "::1".into(), port: 1 }));
    assert_eq!(config.domains[0].upstream.tls, UpstreamTls::Direct);
    assert_eq!(config.domains[0].certificate, Path::new("/etc/minimix/c.pem"));
    assert!(config.listen.iter().all(|l| l.auth == Auth::Mixed));
}

#[test]
fn errors_name_the_key_and_the_remedy() {
    let cases = [
        ("daata = 'x'", "unknown field `daata`"),
        ("data = 'x'", "listen is missing"),
        ("[limits]\ndial_timeout = 10", "line 2"),
        ("[limits]\ndial_timeout = '10'", "a duration such as \"10s\""),
        ("[log]\nformat = 'xml'", "unknown variant `xml`"),
    ];
    for (text, wanted) in cases {
        let error = error(text);
        assert!(error.contains(wanted) && error.starts_with("/etc/minimix/p.toml: "), "{error}");
    }
    let cases = [
        ("127.0.0.1:5222", "0.0.0.0:5222", "listen[0].auth must be given, since 0.0.0.0:5222 is not loopback"),
        ("127.0.0.1:5222", "localhost:5222", "listen[0].address \"localhost:5222\" is not an IP address"),
        ("127.0.0.1:5222", "[::]:5223\"\nauth = \"mixed", "listen[1].address [::]:5223 is listened on twice"),
        ("Example.ORG", "a@b", "domain[0].name \"a@b\" is no XMPP domain"),
        ("certificate = \"c.pem\"", "", "domain[0].certificate is missing for example.org"),
        ("xmpp.example.org:5222", "http://x", "domain[0].upstream.address \"http://x\" is not a host"),
        ("xmpp.example.org:5222\"", "192.0.2.1:5222\"\ntls = \"none\"", "domain[0].upstream.tls \"none\" is for"),
        ("\"16 MiB\"", "1", "limits.client_queue_bytes 1 is out of bounds"),
        ("\"250ms\"", "\"0s\"", "limits.dial_timeout must be longer"),
    ];
    for (from, to, wanted) in cases {
        let error = error(&FILE.replacen(from, to, 1));
        assert!(error.contains(wanted), "{error}");
    }
    let without = Flags { data: None, ..flags() };
    let error = Config::load(&without).unwrap_err().to_string();
    assert_eq!(error, "data is missing; name a directory for the store (--data DIR)");
    let missing = Flags { config: Some("/nowhere/x.toml".into()), ..Flags::default() };
    assert!(Config::load(&missing).unwrap_err().to_string().contains("/nowhere/x.toml"));
}

#[test]
fn s05_a_listener_beyond_loopback_states_its_auth() {
    let open = Flags { listen: Some("0.0.0.0:5222".into()), ..flags() };
    assert!(Config::load(&open).unwrap_err().to_string().contains("--auth"));
    let learn = Config::load(&Flags { auth: Some(Auth::Learn), ..open }).unwrap();
    assert!(learn.warnings().iter().any(|w| w.contains("sees the password")));
}

#[test]
fn s03_not_everybody_may_claim_an_address() {
    let warns = |networks: &str| {
        let listen = format!("address = \"127.0.0.1:5222\"\nproxy_protocol = [{networks}]");
        let file = FILE.replacen("address = \"127.0.0.1:5222\"", &listen, 1);
        let warnings = Config::from_toml(&file, &in_file()).unwrap().warnings();
        warnings.iter().any(|w| w.contains("127.0.0.1:5222: proxy_protocol covers"))
    };
    for everybody in ["'0.0.0.0/0'", "'::/0'", "'10.0.0.0/8', '::/0'", "'0.0.0.0/1', '128.0.0.0/1'"] {
        assert!(warns(everybody), "{everybody}");
    }
    for some in ["", "'10.0.0.0/8'", "'0.0.0.0/1', '::1/128'"] {
        assert!(!warns(some), "{some}");
    }
}

#[test]
fn plaintext_to_loopback_needs_no_flag_and_elsewhere_does() {
    let plain = Flags { upstream_tls: Some(UpstreamTls::None), ..flags() };
    assert!(Config::load(&plain).is_ok());
    let far = Flags { upstream: Some("192.0.2.1:5222".into()), ..plain };
    assert!(Config::load(&far).is_err());
}

#[test]
fn addresses_are_read() {
    let parse = |text| Address::parse(text, UpstreamTls::StartTls).map(|a| a.to_string());
    assert_eq!(parse("xmpp").as_deref(), Some("xmpp:5222"));
    assert_eq!(parse("::1").as_deref(), Some("[::1]:5222"));
    assert_eq!(parse("[::1]:99").as_deref(), Some("[::1]:99"));
    for wrong in ["", ":1", "a:b", "a:0", "a:70000", "a b:1", "a/b"] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

#[test]
fn s22_the_key_does_not_lie_beside_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let load = |data: &Path, key_file: Option<PathBuf>| {
        Config::load(&Flags { data: Some(data.to_owned()), key_file, ..flags() })
    };
    for data in [at("data"), at("data/"), at("./data")] {
        assert_eq!(load(&data, None).unwrap().key_file, at("data.key"));
    }
    assert_eq!(load(&at("my.data"), None).unwrap().key_file, at("my.data.key"));
    assert_eq!(load(&at("data"), Some(at("database"))).unwrap().key_file, at("database"));
    assert!(load(Path::new("/"), None).unwrap_err().to_string().contains("key_file must be given"));

    std::fs::create_dir_all(at("data/sub")).unwrap();
    std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
    for beside in ["data/key", "data/sub/key", "link/key", "link/sub/../key", "data/not yet/key"] {
        for data in ["data", "link"] {
            let error = load(&at(data), Some(at(beside))).unwrap_err().to_string();
            for piece in ["key_file ", "lies in the data directory", "mv ", "--key-file FILE"] {
                assert!(error.contains(piece), "{data} {beside}: {error}");
            }
        }
    }
    // A link that leads out of it is no key beside the store.
    std::fs::write(at("elsewhere"), "").unwrap();
    std::os::unix::fs::symlink(at("elsewhere"), at("data/key")).unwrap();
    load(&at("data"), Some(at("data/key"))).unwrap();
}
