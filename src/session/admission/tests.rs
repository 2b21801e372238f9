use super::*;

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

fn admission(all: usize, per_address: usize, before_login: usize, before_login_per_address: usize) -> Admission {
    let most = Pair { all, before_login };
    let most_per_network = Pair { all: per_address, before_login: before_login_per_address };
    Admission(Arc::new(Shared { most, most_per_network, counts: Mutex::default() }))
}

fn admit(admission: &Admission, address: &str) -> Result<Place, Full> {
    admission.enter()?.belongs_to(address.parse().unwrap())
}

#[test]
fn each_limit_is_its_own() {
    let wide = 100;
    for (admission, wanted) in [
        (admission(2, wide, wide, wide), Full::Connections),
        (admission(wide, 2, wide, wide), Full::PerAddress),
        (admission(wide, wide, 2, wide), Full::BeforeLogin),
        (admission(wide, wide, wide, 2), Full::BeforeLoginPerAddress),
    ] {
        let places = [admit(&admission, A).unwrap(), admit(&admission, A).unwrap()];
        assert_eq!(admit(&admission, A).unwrap_err(), wanted);
        let other = admit(&admission, B);
        assert_eq!(other.is_ok(), matches!(wanted, Full::PerAddress | Full::BeforeLoginPerAddress), "{wanted:?}");
        drop(other);
        assert_eq!(admission.count(), (2, 2), "who was refused is not counted");
        drop(places);
        assert_eq!(admission.count(), (0, 0));
        assert!(admission.0.counts().networks.is_empty());
        drop([admit(&admission, A).unwrap(), admit(&admission, A).unwrap()]);
    }
}

#[test]
fn who_logs_in_makes_room_for_the_next_login_only() {
    let admission = admission(3, 3, 1, 1);
    let mut first = admit(&admission, A).unwrap();
    assert_eq!(admit(&admission, A).unwrap_err(), Full::BeforeLogin);
    first.logged_in();
    first.logged_in();
    assert_eq!(admission.count(), (1, 0));
    let mut second = admit(&admission, A).unwrap();
    second.logged_in();
    let third = admit(&admission, A).unwrap();
    assert_eq!(admit(&admission, A).unwrap_err(), Full::Connections);
    drop((first, second, third));
    assert_eq!(admission.count(), (0, 0));
    assert!(admission.0.counts().networks.is_empty());
}
