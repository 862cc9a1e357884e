use super::*;

fn through(line: &mut CounterLine, format: PayloadFormat, payload: &[u8], begin: bool) -> Bytes {
    let counters = Counters::read(format, payload);
    if begin {
        line.begin(&counters);
    }
    line.rewrite(&counters, &Bytes::copy_from_slice(payload))
}

fn vp8(picture: u16, base: u8, key: u8) -> Vec<u8> {
    let [high, low] = picture.to_be_bytes();
    vec![0x90, 0xf0, 0x80 | high, low, base, 0x60 | key, 0, 9]
}

#[test]
fn the_first_stream_goes_through_untouched_and_uncopied() {
    let mut line = CounterLine::default();
    let payload = Bytes::from(vp8(77, 3, 1));
    let counters = Counters::read(PayloadFormat::Vp8, &payload);
    line.begin(&counters);
    let out = line.rewrite(&counters, &payload);
    assert_eq!(out.as_ptr(), payload.as_ptr());
}

#[test]
fn vp8_counters_go_on_over_a_switch_and_what_is_beside_them_stays() {
    let mut line = CounterLine::default();
    through(&mut line, PayloadFormat::Vp8, &vp8(0x7ffe, 255, 31), true);
    through(&mut line, PayloadFormat::Vp8, &vp8(0x7fff, 0, 31), false);
    let out = through(&mut line, PayloadFormat::Vp8, &vp8(500, 9, 4), true);
    assert_eq!(out.as_ref(), vp8(0, 1, 0), "behind 32767, 0 and 31");
    let out = through(&mut line, PayloadFormat::Vp8, &vp8(501, 9, 4), false);
    assert_eq!(out.as_ref(), vp8(1, 1, 0));
}

#[test]
fn a_late_packet_does_not_set_the_line_back() {
    let mut line = CounterLine::default();
    through(&mut line, PayloadFormat::Vp8, &vp8(10, 1, 1), true);
    through(&mut line, PayloadFormat::Vp8, &vp8(12, 1, 1), false);
    through(&mut line, PayloadFormat::Vp8, &vp8(11, 1, 1), false);
    let out = through(&mut line, PayloadFormat::Vp8, &vp8(900, 5, 5), true);
    assert_eq!(out.as_ref(), vp8(13, 2, 2));
}

#[test]
fn short_picture_ids_wrap_at_seven_bits() {
    let mut line = CounterLine::default();
    let short = |picture: u8| vec![0x90, 0x80, picture, 0];
    through(&mut line, PayloadFormat::Vp8, &short(126), true);
    through(&mut line, PayloadFormat::Vp8, &short(127), false);
    let out = through(&mut line, PayloadFormat::Vp8, &short(40), true);
    assert_eq!(out.as_ref(), short(0));
}

#[test]
fn vp9_counters_go_on_too() {
    let mut line = CounterLine::default();
    let vp9 = |picture: u16, base: u8| {
        let [high, low] = picture.to_be_bytes();
        vec![0xa8, 0x80 | high, low, 0x00, base, 1]
    };
    through(&mut line, PayloadFormat::Vp9, &vp9(100, 7), true);
    let out = through(&mut line, PayloadFormat::Vp9, &vp9(20_000, 200), true);
    assert_eq!(out.as_ref(), vp9(101, 8));
}

#[test]
fn the_frame_number_of_a_dependency_descriptor_goes_on() {
    let mut line = CounterLine::default();
    let mut pass = |element: &[u8], begin: bool| {
        let counters = Counters::of_dependency_descriptor(element);
        if begin {
            line.begin(&counters);
        }
        line.rewrite(&counters, &Bytes::copy_from_slice(element))
    };
    pass(&[0xc0, 0xff, 0xff, 7], true);
    assert_eq!(pass(&[0xc0, 0x12, 0x34, 7], true).as_ref(), [0xc0, 0, 0, 7]);
    assert_eq!(pass(&[0xc0, 0x12, 0x35], false).as_ref(), [0xc0, 0, 1]);
    assert_eq!(pass(&[0xc0], false).as_ref(), [0xc0]);
}

proptest::proptest! {
    #[test]
    fn rewriting_changes_no_length_and_nothing_of_other_codecs(
        payloads in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..12), 1..20),
    ) {
        let mut lines = [CounterLine::default(); 3];
        for (at, payload) in payloads.iter().enumerate() {
            let formats = [PayloadFormat::Vp8, PayloadFormat::Vp9, PayloadFormat::H264(false)];
            for (line, format) in lines.iter_mut().zip(formats) {
                let out = through(line, format, payload, at % 5 == 0);
                proptest::prop_assert_eq!(out.len(), payload.len());
                // What follows the descriptor is the codec's.
                if format == PayloadFormat::H264(false) {
                    proptest::prop_assert_eq!(out.as_ref(), payload.as_slice());
                }
            }
        }
    }
}
