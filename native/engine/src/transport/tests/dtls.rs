use super::link::*;
use crate::config::SrtpProfile::{self, AeadAes128Gcm as Gcm, Aes128CmHmacSha1_80 as Cm};
use crate::plan::Fingerprint;
use crate::w3c::{DtlsRole, DtlsState};
use serde_json::json;
use std::time::Duration;

const BOTH_ROLES: [DtlsRole; 2] = [DtlsRole::Client, DtlsRole::Server];

#[test]
fn both_roles_connect_with_every_mix_of_srtp_profiles() {
    let lists: [&[SrtpProfile]; 3] = [&[Gcm, Cm], &[Gcm], &[Cm]];
    for role in BOTH_ROLES {
        for of_a in lists {
            for of_b in lists {
                let common = of_a.iter().find(|profile| of_b.contains(profile));
                let mut pair = Pair::new().profiles(of_a, of_b);
                pair.introduce(role);
                let connected = pair.run_until(Duration::from_secs(5), Pair::is_connected);
                let Some(common) = common else {
                    assert!(
                        !connected || pair.a.send_rtp(1).is_none(),
                        "no profile in common, yet media would flow"
                    );
                    continue;
                };
                assert!(connected, "{role:?} {of_a:?} {of_b:?}");
                assert!(pair.exchange(1));
                for peer in [&pair.a, &pair.b] {
                    assert_eq!(
                        peer.stat(pair.now, "transport", "srtp_cipher"),
                        Some(json!(common.as_str()))
                    );
                }
            }
        }
    }
}

#[test]
fn a_server_prefers_gcm_even_where_the_client_does_not() {
    let mut pair = Pair::new().profiles(&[Gcm, Cm], &[Cm, Gcm]);
    pair.introduce(DtlsRole::Server);
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert_eq!(
        pair.a.stat(pair.now, "transport", "srtp_cipher"),
        Some(json!("SRTP_AEAD_AES_128_GCM"))
    );
}

#[test]
fn set_up_takes_few_round_trips_and_few_datagrams() {
    for role in BOTH_ROLES {
        let mut pair = Pair::new();
        pair.introduce(role);
        assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
        let took = pair.now - pair.start;
        assert!(took <= ms(12), "{role:?}: {took:?} at 1 ms of latency");
        assert!(
            pair.datagrams <= 20,
            "{role:?}: {} datagrams",
            pair.datagrams
        );
        assert_eq!(pair.a.dtls(), [DtlsState::Connecting, DtlsState::Connected]);
        assert_eq!(pair.b.dtls(), [DtlsState::Connecting, DtlsState::Connected]);
    }
}

#[test]
fn a_wrong_fingerprint_fails_the_handshake_in_each_role() {
    for role in BOTH_ROLES {
        for at_a in [true, false] {
            let mut pair = Pair::new();
            let wrong = Fingerprint {
                algorithm: "sha-256".into(),
                value: pair
                    .a
                    .transport
                    .fingerprint()
                    .value
                    .replace('A', "B")
                    .replace('1', "2"),
            };
            pair.introduce(role);
            // Before anything was exchanged, one side is told of another certificate.
            let peer = if at_a { &mut pair.a } else { &mut pair.b };
            peer.plan.remote_fingerprints = vec![wrong];
            peer.apply(pair.now);
            pair.run(Duration::from_secs(10));
            let (deceived, other) = if at_a {
                (&mut pair.a, &pair.b)
            } else {
                (&mut pair.b, &pair.a)
            };
            assert_eq!(
                deceived.transport.dtls_state(),
                DtlsState::Failed,
                "{role:?} {at_a}"
            );
            assert!(deceived.transport.dtls.keys.is_none());
            assert_eq!(deceived.send_rtp(1), None);
            assert!(deceived.data.is_empty() && deceived.rtp.is_empty());
            assert_ne!(other.transport.dtls_state(), DtlsState::New);
        }
    }
}

#[test]
fn nothing_is_trusted_while_no_fingerprint_is_known() {
    for role in BOTH_ROLES {
        let mut pair = Pair::new();
        let of_b = pair.offer(role);
        pair.learn_a(role, vec![]);
        pair.a.apply(pair.now);
        pair.a.add_remote(pair.now, &of_b);
        pair.run(ms(500));
        assert_ne!(pair.a.transport.dtls_state(), DtlsState::Connected);
        assert!(pair.a.transport.dtls.keys.is_none());
        // Once it is known the handshake goes on, from what was kept.
        pair.a.plan.remote_fingerprints = vec![pair.b.transport.fingerprint()];
        pair.a.apply(pair.now);
        assert!(
            pair.run_until(Duration::from_secs(5), Pair::is_connected),
            "{role:?}"
        );
    }
}

#[test]
fn application_data_crosses_in_both_directions() {
    let mut pair = Pair::new();
    pair.connect();
    let now = pair.now;
    pair.a.transport.write_data(now, b"from a", &mut pair.a.out);
    pair.b
        .transport
        .write_data(now, &[7; 1_100], &mut pair.b.out);
    pair.run(ms(10));
    assert_eq!(pair.b.data, [b"from a".to_vec()]);
    assert_eq!(pair.a.data, [vec![7; 1_100]]);
}

#[test]
fn a_close_notify_closes_dtls_and_nothing_else() {
    let mut pair = Pair::new();
    pair.connect();
    let now = pair.now;
    pair.a.transport.close(now, &mut pair.a.out);
    let told = pair.a.events.len();
    pair.a.drain();
    assert_eq!(pair.a.events.len(), told, "closing fires no events");
    assert_eq!(pair.a.transport.dtls_state(), DtlsState::Closed);
    assert_eq!(pair.a.transport.poll_timeout(), None);
    pair.run(ms(20));
    assert_eq!(pair.b.transport.dtls_state(), DtlsState::Closed);
    assert_eq!(
        pair.b.ice().last().map(|state| state.as_str()),
        Some("connected")
    );
    assert_eq!(pair.b.send_rtp(1), None);
}

#[test]
fn other_roles_make_a_new_association() {
    let mut pair = Pair::new();
    pair.connect();
    assert!(pair.exchange(1));
    for peer in [&mut pair.a, &mut pair.b] {
        peer.plan.dtls_role = match peer.plan.dtls_role {
            Some(crate::w3c::DtlsRole::Client) => Some(crate::w3c::DtlsRole::Server),
            _ => Some(crate::w3c::DtlsRole::Client),
        };
        peer.apply(pair.now);
        assert_eq!(peer.transport.dtls_state(), DtlsState::Connecting);
    }
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert!(pair.exchange(2));
}

#[test]
fn a_new_certificate_of_the_peer_makes_a_new_association() {
    let mut pair = Pair::new();
    pair.connect();
    let same = pair.b.transport.fingerprint();
    // A renegotiation that only adds a fingerprint keeps the association.
    pair.a.plan.remote_fingerprints = vec![
        Fingerprint {
            algorithm: "sha-1".into(),
            value: "00".into(),
        },
        same,
    ];
    pair.a.apply(pair.now);
    assert_eq!(pair.a.transport.dtls_state(), DtlsState::Connected);
    assert!(pair.exchange(1));
    // Another peer takes over at the same address: all else stays.
    let mut fresh = Peer::new(
        pair.now,
        "bbbb",
        pair.b.address,
        crate::w3c::IceRole::Controlled,
        &config(),
    );
    fresh.plan = pair.b.plan.clone();
    pair.b = fresh;
    pair.b.plan.remote_fingerprints = vec![pair.a.transport.fingerprint()];
    pair.b.apply(pair.now);
    pair.b.gather(pair.now);
    let of_a = "candidate:1 1 udp 2130706431 10.0.0.1 1000 typ host";
    pair.b.add_remote(pair.now, of_a);
    pair.a.plan.local = credentials("a2a2");
    pair.a.plan.remote = Some(pair.b.plan.local.clone());
    pair.a.plan.remote_fingerprints = vec![pair.b.transport.fingerprint()];
    pair.b.plan.remote = Some(pair.a.plan.local.clone());
    pair.b.apply(pair.now);
    pair.a.apply(pair.now);
    assert_eq!(pair.a.transport.dtls_state(), DtlsState::Connecting);
    pair.a.gather(pair.now);
    pair.b.add_remote(pair.now, of_a);
    pair.a.add_remote(
        pair.now,
        "candidate:1 1 udp 2130706431 10.0.0.2 2000 typ host",
    );
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert!(pair.exchange(2));
}

#[test]
fn loss_repetition_and_disorder_only_cost_time() {
    for role in BOTH_ROLES {
        for seed in 0..40 {
            let mut pair = Pair::new();
            (pair.loss, pair.repeat, pair.reorder) = (20, 20, 30);
            for _ in 0..seed {
                // Moves the dice.
                pair.a
                    .out
                    .push(pair.a.address, ([10, 9, 9, 9], 9).into(), &[255]);
                pair.pass();
            }
            pair.introduce(role);
            assert!(
                pair.run_until(Duration::from_secs(30), Pair::is_connected),
                "{role:?}, seed {seed}: {:?} {:?}",
                pair.a.events,
                pair.b.events
            );
        }
    }
}

#[test]
fn certificates_in_statistics_are_those_of_each_side() {
    let mut pair = Pair::new();
    pair.connect();
    let now = pair.now;
    for (peer, other) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let print = |id| peer.stat(now, id, "fingerprint");
        assert_eq!(
            print("local_certificate"),
            Some(json!(peer.transport.fingerprint().value))
        );
        assert_eq!(
            print("remote_certificate"),
            Some(json!(other.transport.fingerprint().value))
        );
    }
}
