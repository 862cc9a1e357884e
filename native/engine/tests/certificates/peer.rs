//! A DTLS 1.2 peer made by hand (RFC 5246, RFC 6347, RFC 7627), which leaves out or forges what it
//! is told to. It stands on the link in place of a side's own DTLS.

use super::world::Datagram;
use ring::{digest, hmac};
use rtc_crypto::{ActiveKeyExchange, KeyExchangeAlgorithm, RTCCryptoProvider, SignatureScheme};
use rtc_dtls::cipher_suite::{CipherSuite, CipherSuiteId, cipher_suite_for_id};
use rtc_dtls::content::ContentType;
use rtc_dtls::crypto::Certificate;
use rtc_dtls::record_layer::record_layer_header::{PROTOCOL_VERSION1_2, RecordLayerHeader};
use std::net::SocketAddr;
use std::sync::Arc;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const FINISHED: u8 = 20;

/// `ecdsa_secp256r1_sha256`, as hash and signature.
const ECDSA_SHA256: [u8; 2] = [4, 3];

/// What the Certificate message of the peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// There is no such message.
    Nothing,
    /// It has no certificate.
    EmptyList,
    /// The announced one.
    Certificate,
}

/// What proves that the peer has the key of the certificate: the CertificateVerify of a client,
/// the signature in the ServerKeyExchange of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proves {
    /// There is no CertificateVerify.
    Nothing,
    /// Signed with the key.
    Key,
    /// Signed with a key of its own.
    AnotherKey,
    /// Bytes that are no signature.
    Noise,
    /// A key exchange of its own, and behind the failed handshake one that the owner of the key
    /// signed: a server signs its key for whoever asks, with the random of whoever asks.
    AnothersKeyExchange,
}

/// How the peer behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub client: bool,
    pub shows: Shows,
    pub proves: Proves,
    /// As server: asks for our certificate.
    pub asks: bool,
    /// Each record in a datagram of its own, and of those in the clear the last one first.
    pub backwards: bool,
}

/// The peer.
pub struct Peer {
    manner: Manner,
    provider: Arc<dyn RTCCryptoProvider>,
    /// Whose fingerprint was announced; the key is used only where `manner` says so.
    announced: Certificate,
    own: Certificate,
    exchange: Option<Box<dyn ActiveKeyExchange>>,
    /// The public half of `exchange`.
    share: Vec<u8>,
    client_random: Vec<u8>,
    server_random: Vec<u8>,
    cipher: Option<Box<dyn CipherSuite>>,
    master_secret: Vec<u8>,
    /// Handshake messages as both sides hash them.
    transcript: Vec<u8>,
    next_message: u16,
    next_record: [u64; 2],
    next_received: u16,
    /// All that it sent, for repeating it.
    pub sent: Vec<Vec<u8>>,
    /// Level and description of alerts in the clear.
    pub alerts: Vec<[u8; 2]>,
    /// Types of handshake messages that came in the clear.
    pub received: Vec<u8>,
    /// The other side's Finished was there, and right.
    pub finished: bool,
}

fn hash(data: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, data).as_ref().to_vec()
}

/// The PRF with SHA-256 (RFC 5246 section 5).
fn prf(secret: &[u8], label: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let seed = [label, seed].concat();
    let mut round = seed.clone();
    let mut out = Vec::new();
    while out.len() < length {
        round = hmac::sign(&key, &round).as_ref().to_vec();
        out.extend_from_slice(hmac::sign(&key, &[round.as_slice(), &seed].concat()).as_ref());
    }
    out.truncate(length);
    out
}

/// A vector with a length of so many bytes before it.
fn vector(width: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[4 - width..], content].concat()
}

impl Peer {
    pub fn new(manner: Manner, announced: Certificate) -> Self {
        let provider = rtc_crypto::default_provider().unwrap();
        let own = Certificate::generate_self_signed(vec!["own".to_owned()], provider.crypto());
        let random = |provider: &Arc<dyn RTCCryptoProvider>| {
            let mut bytes = vec![0; 32];
            provider.random().fill(&mut bytes).unwrap();
            bytes
        };
        Self {
            manner,
            announced,
            own: own.unwrap(),
            exchange: None,
            share: Vec::new(),
            client_random: random(&provider),
            server_random: random(&provider),
            provider,
            cipher: None,
            master_secret: Vec::new(),
            transcript: Vec::new(),
            next_message: 0,
            next_record: [0; 2],
            next_received: 0,
            sent: Vec::new(),
            alerts: Vec::new(),
            received: Vec::new(),
            finished: false,
        }
    }

    /// A client's first flight.
    pub fn begin(&mut self) -> Vec<Vec<u8>> {
        let hello = self.hello(&[]);
        let flight = vec![self.message(CLIENT_HELLO, &hello)];
        self.launch(flight)
    }

    /// Takes a datagram and answers it.
    pub fn handle(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = datagram;
        let mut answers = Vec::new();
        while rest.len() > 13 {
            let length = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
            let (record, next) = rest.split_at(13 + length);
            rest = next;
            let encrypted = record[3..5] != [0, 0];
            let opened = match &mut self.cipher {
                Some(cipher) if encrypted => cipher.decrypt(record).ok(),
                _ => Some(record.to_vec()).filter(|_| !encrypted),
            };
            let Some(opened) = opened else { continue };
            match (opened[0], &opened[13..]) {
                (ALERT, &[level, description]) => self.alerts.push([level, description]),
                (HANDSHAKE, body) => answers.extend(self.take(body)),
                _ => {}
            }
        }
        answers
    }

    fn take(&mut self, body: &[u8]) -> Vec<Vec<u8>> {
        let sequence = u16::from_be_bytes([body[4], body[5]]);
        // One that was there already.
        if sequence != self.next_received {
            return Vec::new();
        }
        assert_eq!(body[1..4], body[9..12], "whole messages only");
        self.next_received += 1;
        let (kind, content) = (body[0], &body[12..]);
        self.received.push(kind);
        if kind == FINISHED {
            let label: &[u8] = if self.manner.client {
                b"server finished"
            } else {
                b"client finished"
            };
            let expected = prf(&self.master_secret, label, &hash(&self.transcript), 12);
            assert_eq!(content, expected, "the other side's Finished");
            self.finished = true;
        }
        self.transcript.extend_from_slice(body);
        match kind {
            HELLO_VERIFY_REQUEST => {
                // Neither it nor the hello before it is hashed (RFC 6347 section 4.2.1).
                self.transcript.clear();
                let hello = self.hello(&content[3..]);
                let flight = vec![self.message(CLIENT_HELLO, &hello)];
                self.launch(flight)
            }
            SERVER_HELLO => {
                self.server_random = content[2..34].to_vec();
                Vec::new()
            }
            SERVER_KEY_EXCHANGE => {
                // Curve type, curve, then the key.
                let length = usize::from(content[3]);
                self.make_share();
                self.agree(&content[4..4 + length]);
                Vec::new()
            }
            SERVER_HELLO_DONE => self.client_flight(),
            CLIENT_HELLO => {
                self.client_random = content[2..34].to_vec();
                self.server_flight()
            }
            CLIENT_KEY_EXCHANGE => {
                self.agree(&content[1..]);
                self.derive();
                Vec::new()
            }
            FINISHED if !self.manner.client => {
                let flight = self.change_and_finish();
                self.launch(flight)
            }
            _ => Vec::new(),
        }
    }

    fn hello(&self, cookie: &[u8]) -> Vec<u8> {
        let extensions = [
            // supported_groups: X25519; ec_point_formats; signature_algorithms; use_srtp:
            // AEAD_AES_128_GCM; extended_master_secret.
            vec![0, 10, 0, 4, 0, 2, 0, 29],
            vec![0, 11, 0, 2, 1, 0],
            vec![0, 13, 0, 4, 0, 2, 4, 3],
            vec![0, 14, 0, 5, 0, 2, 0, 7, 0],
            vec![0, 23, 0, 0],
        ];
        [
            vec![254, 253],
            self.client_random.clone(),
            vector(1, &[]),
            vector(1, cookie),
            // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            vector(2, &[0xC0, 0x2B]),
            vector(1, &[0]),
            vector(2, &extensions.concat()),
        ]
        .concat()
    }

    fn make_share(&mut self) {
        let crypto = self.provider.crypto();
        let exchange = crypto.start_key_exchange(KeyExchangeAlgorithm::X25519);
        let exchange = exchange.unwrap();
        self.share = exchange.public_key().to_vec();
        self.exchange = Some(exchange);
    }

    /// Keeps the shared secret in the place of the master secret until that is derived.
    fn agree(&mut self, theirs: &[u8]) {
        let exchange = self.exchange.take().unwrap();
        self.master_secret = exchange.complete(theirs).unwrap().into_bytes();
    }

    /// The extended master secret (RFC 7627 section 4), and the keys from it.
    fn derive(&mut self) {
        let session = hash(&self.transcript);
        self.master_secret = prf(&self.master_secret, b"extended master secret", &session, 48);
        let id = CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256;
        let mut cipher = cipher_suite_for_id(id).unwrap();
        cipher
            .init(
                self.provider.clone(),
                &self.master_secret,
                &self.client_random,
                &self.server_random,
                self.manner.client,
            )
            .unwrap();
        self.cipher = Some(cipher);
    }

    fn certificate_message(&mut self) -> Option<Vec<u8>> {
        let der = self.announced.certificate[0].as_ref();
        let list = match self.manner.shows {
            Shows::Nothing => return None,
            Shows::EmptyList => Vec::new(),
            Shows::Certificate => vector(3, der),
        };
        Some(self.message(CERTIFICATE, &vector(3, &list)))
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let key = match self.manner.proves {
            Proves::Nothing => return None,
            Proves::Noise => return Some(vec![7; 70]),
            Proves::Key => &self.announced,
            Proves::AnotherKey | Proves::AnothersKeyExchange => &self.own,
        };
        let scheme = SignatureScheme::EcdsaP256Sha256;
        Some(key.private_key.signing_key.sign(scheme, message).unwrap())
    }

    fn client_flight(&mut self) -> Vec<Vec<u8>> {
        let share = vector(1, &self.share);
        let mut flight: Vec<Vec<u8>> = self.certificate_message().into_iter().collect();
        flight.push(self.message(CLIENT_KEY_EXCHANGE, &share));
        self.derive();
        if self.manner.shows == Shows::Certificate
            && let Some(signature) = self.signature(&self.transcript.clone())
        {
            let body = [ECDSA_SHA256.to_vec(), vector(2, &signature)].concat();
            flight.push(self.message(CERTIFICATE_VERIFY, &body));
        }
        flight.extend(self.change_and_finish());
        self.launch(flight)
    }

    fn server_flight(&mut self) -> Vec<Vec<u8>> {
        let extensions = [vec![0, 14, 0, 5, 0, 2, 0, 7, 0], vec![0, 23, 0, 0]];
        let hello = [
            vec![254, 253],
            self.server_random.clone(),
            vector(1, &[]),
            vec![0xC0, 0x2B, 0],
            vector(2, &extensions.concat()),
        ];
        let mut flight = vec![self.message(SERVER_HELLO, &hello.concat())];
        flight.extend(self.certificate_message());
        self.make_share();
        let exchange = self.server_key_exchange(&self.share, None);
        flight.push(self.message(SERVER_KEY_EXCHANGE, &exchange));
        if self.manner.asks {
            // ecdsa_sign, the signature algorithms, no names.
            flight.push(self.message(CERTIFICATE_REQUEST, &[1, 64, 0, 2, 4, 3, 0, 0]));
        }
        flight.push(self.message(SERVER_HELLO_DONE, &[]));
        let mut all = self.launch(flight);
        if self.manner.proves == Proves::AnothersKeyExchange {
            let crypto = self.provider.crypto();
            let theirs = crypto.start_key_exchange(KeyExchangeAlgorithm::X25519);
            let share = theirs.unwrap().public_key().to_vec();
            let exchange = self.server_key_exchange(&share, Some(&self.announced));
            let later = self.message(SERVER_KEY_EXCHANGE, &exchange);
            all.extend(self.launch(vec![later]));
        }
        all
    }

    fn server_key_exchange(&self, share: &[u8], signer: Option<&Certificate>) -> Vec<u8> {
        let parameters = [vec![3, 0, 29], vector(1, share)].concat();
        let signed = [&self.client_random[..], &self.server_random, &parameters].concat();
        let signature = match signer {
            Some(signer) => {
                let key = &signer.private_key.signing_key;
                key.sign(SignatureScheme::EcdsaP256Sha256, &signed).unwrap()
            }
            None => self.signature(&signed).unwrap_or_default(),
        };
        [parameters, ECDSA_SHA256.to_vec(), vector(2, &signature)].concat()
    }

    fn change_and_finish(&mut self) -> Vec<Vec<u8>> {
        let label: &[u8] = if self.manner.client {
            b"client finished"
        } else {
            b"server finished"
        };
        let verify = prf(&self.master_secret, label, &hash(&self.transcript), 12);
        let change = self.record(CHANGE_CIPHER_SPEC, 0, &[1]);
        let message = self.handshake(FINISHED, &verify);
        vec![
            change,
            self.seal(HANDSHAKE, ContentType::Handshake, &message),
        ]
    }

    /// A handshake message in a record of its own.
    fn message(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let message = self.handshake(kind, body);
        self.record(HANDSHAKE, 0, &message)
    }

    fn handshake(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        let sequence = self.next_message.to_be_bytes();
        self.next_message += 1;
        let header = [&[kind], &length[1..], &sequence, &[0; 3], &length[1..]].concat();
        let message = [&header, body].concat();
        self.transcript.extend_from_slice(&message);
        message
    }

    fn record(&mut self, kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let number = &mut self.next_record[usize::from(epoch)];
        let sequence = number.to_be_bytes();
        *number += 1;
        let length = (body.len() as u16).to_be_bytes();
        [&[kind, 254, 253, 0, epoch], &sequence[2..], &length, body].concat()
    }

    /// A flight, in one datagram where nothing else is asked for.
    fn launch(&mut self, mut flight: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if self.manner.backwards {
            let clear = |record: &Vec<u8>| record[0] == HANDSHAKE && record[4] == 0;
            let until = flight.iter().take_while(|record| clear(record)).count();
            flight[..until].reverse();
        } else {
            flight = vec![flight.concat()];
        }
        self.sent.extend(flight.iter().cloned());
        flight
    }

    /// An alert under the keys of the handshake.
    pub fn alert(&mut self, level: u8, description: u8) -> Vec<u8> {
        self.seal(ALERT, ContentType::Alert, &[level, description])
    }

    fn seal(&mut self, kind: u8, content_type: ContentType, body: &[u8]) -> Vec<u8> {
        let header = RecordLayerHeader {
            content_type,
            protocol_version: PROTOCOL_VERSION1_2,
            epoch: 1,
            sequence_number: self.next_record[1],
            content_len: body.len() as u16,
        };
        let plain = self.record(kind, 1, body);
        self.cipher
            .as_mut()
            .unwrap()
            .encrypt(&header, &plain)
            .unwrap()
    }
}

/// Whether a datagram is DTLS (RFC 7983).
pub fn is_dtls(datagram: &[u8]) -> bool {
    datagram
        .first()
        .is_some_and(|first| (20..64).contains(first))
}

/// What comes out of the link where `peer` stands in place of the DTLS of the side at `address`.
pub fn stand_in(peer: &mut Peer, address: SocketAddr, datagram: Datagram) -> Vec<Datagram> {
    let (from, to, bytes) = datagram;
    if !is_dtls(&bytes) {
        return vec![(from, to, bytes)];
    }
    let (other, answers) = if to == address {
        (from, peer.handle(&bytes))
    } else if peer.sent.is_empty() && peer.manner.client {
        // The side begins its handshake: so does the peer.
        (to, peer.begin())
    } else {
        (to, Vec::new())
    };
    let answers = answers.into_iter();
    answers.map(|bytes| (address, other, bytes)).collect()
}
