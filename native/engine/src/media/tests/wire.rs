use super::super::header::{ElementList, Fields, HeaderBuffer};
use super::*;
use proptest::prelude::*;

/// A packet with this extension profile and body.
fn with_extension(profile: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    packet.extend_from_slice(&profile.to_be_bytes());
    packet.extend_from_slice(&((body.len() / 4) as u16).to_be_bytes());
    packet.extend_from_slice(body);
    packet.extend_from_slice(b"payload");
    packet
}

fn read(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let packet = ReceivedRtp::parse(packet).unwrap();
    assert_eq!(packet.payload, b"payload");
    packet
        .elements()
        .map(|(id, data)| (id, data.to_vec()))
        .collect()
}

#[test]
fn one_byte_elements_are_read_over_padding() {
    let body = [0x10, 0xaa, 0, 0, 0x21, 0xbb, 0xcc, 0];
    assert_eq!(
        read(&with_extension(0xbede, &body)),
        [(1, vec![0xaa]), (2, vec![0xbb, 0xcc])]
    );
}

#[test]
fn identifier_fifteen_ends_the_extension_and_not_the_packet() {
    let body = [0x10, 0xaa, 0xf3, 1, 2, 3, 4, 0x20];
    let body = [&body[..], &[0xbb, 0, 0, 0]].concat();
    assert_eq!(read(&with_extension(0xbede, &body)), [(1, vec![0xaa])]);
}

#[test]
fn two_byte_elements_may_be_empty_and_have_any_appbits() {
    let body = [200, 0, 0, 15, 3, 1, 2, 3];
    assert_eq!(
        read(&with_extension(0x1007, &body)),
        [(200, vec![]), (15, vec![1, 2, 3])]
    );
}

#[test]
fn an_element_longer_than_the_extension_ends_it() {
    assert_eq!(read(&with_extension(0xbede, &[0x1f, 1, 2, 3])), []);
    assert_eq!(read(&with_extension(0x1000, &[9, 200, 2, 3])), []);
}

#[test]
fn an_opaque_extension_has_no_elements() {
    let packet = with_extension(0x1234, &[1, 2, 3, 4]);
    let parsed = ReceivedRtp::parse(&packet).unwrap();
    assert_eq!(parsed.elements().count(), 0);
    assert_eq!(
        (parsed.extension_profile, parsed.extension),
        (Some(0x1234), &[1, 2, 3, 4][..])
    );
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let good = with_extension(0xbede, &[0; 4]);
    for length in 0..16 + 4 {
        assert_eq!(ReceivedRtp::parse(&good[..length]), None, "{length} bytes");
    }
    let mut padded = good.clone();
    padded[0] |= 0x20;
    for (padding, payload) in [(0, None), (7, Some(0)), (8, None), (1, Some(6))] {
        *padded.last_mut().unwrap() = padding;
        assert_eq!(
            ReceivedRtp::parse(&padded).map(|packet| packet.payload.len()),
            payload
        );
    }
    let mut version = good;
    version[0] = 0x50;
    assert_eq!(ReceivedRtp::parse(&version), None);
}

#[test]
fn an_element_that_one_byte_cannot_say_makes_the_extension_two_byte() {
    for (id, data, profile) in [
        (14, vec![1; 16], 0xbede),
        (15, vec![1], 0x1000),
        (1, vec![1; 17], 0x1000),
        (1, vec![], 0x1000),
    ] {
        let mut list = ElementList::new();
        list.push(2, &[9]);
        list.push(id, &data);
        let fields = Fields {
            marker: false,
            payload_type: 1,
            sequence_number: 1,
            timestamp: 1,
            ssrc: 1,
            padding: false,
        };
        let header = HeaderBuffer::write(fields, std::iter::empty(), &list);
        let parsed = ReceivedRtp::parse(header.as_slice()).unwrap();
        assert_eq!(parsed.extension_profile, Some(profile));
        let read: Vec<_> = parsed
            .elements()
            .map(|(id, data)| (id, data.to_vec()))
            .collect();
        assert_eq!(read, [(2, vec![9]), (id, data)]);
    }
}

proptest! {
    #[test]
    fn a_header_survives_writing_and_reading(
        marker: bool, payload_type in 0u8..128, sequence_number: u16, timestamp: u32, ssrc: u32,
        csrc in proptest::collection::vec(any::<u32>(), 0..16),
        elements in proptest::collection::vec(
            (1u8..=255, proptest::collection::vec(any::<u8>(), 0..18)), 0..14),
    ) {
        let mut list = ElementList::new();
        for (id, data) in &elements {
            list.push(*id, data);
        }
        let fields = Fields { marker, payload_type, sequence_number, timestamp, ssrc, padding: false };
        let header = HeaderBuffer::write(fields, csrc.iter().copied(), &list);
        let parsed = ReceivedRtp::parse(header.as_slice()).unwrap();
        prop_assert_eq!(
            (parsed.marker, parsed.payload_type, parsed.sequence_number),
            (marker, payload_type, sequence_number)
        );
        prop_assert_eq!((parsed.timestamp, parsed.ssrc), (timestamp, ssrc));
        prop_assert_eq!(parsed.csrc.len(), csrc.len() * 4);
        prop_assert_eq!(parsed.header_length(), header.as_slice().len());
        let read: Vec<_> = parsed.elements().map(|(id, data)| (id, data.to_vec())).collect();
        prop_assert_eq!(read, elements);
        prop_assert!(parsed.payload.is_empty());
    }
}
