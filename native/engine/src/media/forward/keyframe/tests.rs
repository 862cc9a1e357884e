use super::*;

fn format(mime_type: &str, fmtp: Option<&str>) -> PayloadFormat {
    let codec = Codec {
        payload_type: 96,
        mime_type: mime_type.to_owned(),
        clock_rate: 90_000,
        channels: None,
        fmtp: fmtp.map(str::to_owned),
        feedback: Vec::new(),
    };
    PayloadFormat::of(Kind::Video, &codec)
}

#[test]
fn a_vp8_keyframe_begins_with_its_first_partition() {
    let vp8 = format("video/VP8", None);
    assert!(vp8.begins(&[0x10, 0x00, 1, 2]));
    assert!(!vp8.begins(&[0x10, 0x01, 1, 2]), "an interframe");
    assert!(!vp8.begins(&[0x00, 0x00, 1, 2]), "a continuation");
    assert!(!vp8.begins(&[0x11, 0x00, 1, 2]), "another partition");
    // X, then I, L, T and K: a picture id of two bytes, TL0PICIDX, TID and KEYIDX.
    assert!(vp8.begins(&[0x90, 0xf0, 0x81, 2, 3, 4, 0x00]));
    assert!(!vp8.begins(&[0x90, 0xf0, 0x81, 2, 3, 4, 0x01]));
    assert!(!vp8.begins(&[0x90, 0xf0, 0x81, 2, 3, 4]), "cut off");
}

#[test]
fn a_vp9_keyframe_begins_with_its_lowest_spatial_layer() {
    let vp9 = format("video/VP9", None);
    assert!(vp9.begins(&[0x08, 1]));
    assert!(!vp9.begins(&[0x48, 1]), "predicted");
    assert!(!vp9.begins(&[0x00, 1]), "a continuation");
    // I and L: a picture id of one byte, then TID, U, SID, D and TL0PICIDX.
    assert!(vp9.begins(&[0xa8, 0x11, 0b0000_0000, 7, 1]));
    assert!(!vp9.begins(&[0xa8, 0x11, 0b0000_0010, 7, 1]), "layer 1");
}

#[test]
fn an_h264_keyframe_begins_with_its_parameter_sets() {
    let h264 = format("video/H264", Some("profile-level-id=42e01f"));
    assert!(h264.begins(&[0x67, 1, 2]));
    assert!(h264.begins(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]));
    assert!(
        h264.begins(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 1]),
        "behind a delimiter"
    );
    assert!(!h264.begins(&[0x65, 1, 2]), "a picture without them");
    assert!(!h264.begins(&[0x7c, 0x85, 1]), "likewise in fragments");
    assert!(!h264.begins(&[0x41, 1]));
    assert!(!h264.begins(&[0x78, 0, 9, 0x67]), "cut off");
    let out_of_band = format("video/H264", Some("sprop-parameter-sets=Z0LAHg==,aM4G4g=="));
    assert!(out_of_band.begins(&[0x65, 1, 2]));
    assert!(out_of_band.begins(&[0x7c, 0x85, 1]));
    assert!(
        !out_of_band.begins(&[0x7c, 0x05, 1]),
        "not its first fragment"
    );
}

#[test]
fn an_h265_keyframe_begins_with_its_video_parameter_set() {
    let h265 = format("video/H265", None);
    assert!(h265.begins(&[0x40, 1, 9]));
    assert!(h265.begins(&[0x60, 1, 0, 2, 0x40, 1]));
    assert!(!h265.begins(&[0x26, 1, 9]), "an IDR without it");
    assert!(!h265.begins(&[0x02, 1]));
    let out_of_band = format("video/H265", Some("sprop-vps=AA=="));
    assert!(out_of_band.begins(&[0x26, 1, 9]));
    assert!(out_of_band.begins(&[0x62, 1, 0x93]));
    assert!(!out_of_band.begins(&[0x62, 1, 0x13]));
}

#[test]
fn an_av1_keyframe_begins_a_coded_video_sequence() {
    let av1 = format("video/AV1", None);
    assert!(av1.begins(&[0x18, 1]));
    assert!(!av1.begins(&[0x10, 1]));
    assert!(!av1.begins(&[0x98, 1]), "continues a fragment");
    assert!(!av1.begins(&[]));
}

#[test]
fn of_an_unknown_codec_every_packet_will_do() {
    assert!(format("video/theora", None).begins(&[]));
}

proptest::proptest! {
    #[test]
    fn no_payload_is_too_strange(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
        for name in ["VP8", "VP9", "H264", "H265", "AV1"] {
            format(&format!("video/{name}"), None).begins(&payload);
            format(&format!("video/{name}"), Some("sprop-x=1")).begins(&payload);
        }
    }
}
