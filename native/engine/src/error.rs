//! Every reason a request can be refused with: the atoms of the contract, once.

macro_rules! reasons {
    ($($variant:ident = $text:literal),* $(,)?) => {
        /// The reason in `{:error, reason}`. [`Error::as_str`] is the atom's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        #[error("{}", self.as_str())]
        pub enum Error { $(#[doc = concat!("`:", $text, "`")] $variant),* }

        impl Error {
            /// The name of the atom.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Every reason, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    };
}

reasons! {
    // Section 4 of the contract: SDP.
    EmptySdp = "empty_sdp",
    MissingMid = "missing_mid",
    DuplicatedMid = "duplicated_mid",
    MissingBundleGroup = "missing_bundle_group",
    MultipleBundleGroups = "multiple_bundle_groups",
    NonExhaustiveBundleGroup = "non_exhaustive_bundle_group",
    InvalidBundleGroup = "invalid_bundle_group",
    MultipleDataMlines = "multiple_data_mlines",
    InvalidDatachannelFormat = "invalid_datachannel_format",
    NoSctpPort = "no_sctp_port",
    MissingRtcpMux = "missing_rtcp_mux",
    MissingIceCredentials = "missing_ice_credentials",
    MissingIceUfrag = "missing_ice_ufrag",
    MissingIcePwd = "missing_ice_pwd",
    ConflictingIceCredentials = "conflicting_ice_credentials",
    MissingCertFingerprint = "missing_cert_fingerprint",
    ConflictingCertFingerprints = "conflicting_cert_fingerprints",
    UnsupportedCertFingerprintHashFunction = "unsupported_cert_fingerprint_hash_function",
    MissingDtlsRole = "missing_dtls_role",
    ConflictingDtlsRoles = "conflicting_dtls_roles",
    InvalidSdpSyntax = "invalid_sdp_syntax",
    InvalidState = "invalid_state",
    // Section 1: functions.
    DescriptionAltered = "description_altered",
    NoRemoteDescription = "no_remote_description",
    InvalidCandidate = "invalid_candidate",
    InvalidModification = "invalid_modification",
    InvalidTransceiverId = "invalid_transceiver_id",
    InvalidSenderId = "invalid_sender_id",
    InvalidReceiverId = "invalid_receiver_id",
    InvalidTrackId = "invalid_track_id",
    InvalidTrackType = "invalid_track_type",
    InvalidTransceiverDirection = "invalid_transceiver_direction",
    InvalidCodec = "invalid_codec",
    InvalidOption = "invalid_option",
    // Section 7: forwarding.
    InvalidForward = "invalid_forward",
    InvalidLayer = "invalid_layer",
    CodecMismatch = "codec_mismatch",
    BufferFull = "buffer_full",
    Closed = "closed",
    Busy = "busy",
    Timeout = "timeout",
    // Raised by the border, not by a peer: our own machinery could not be set up.
    Internal = "internal",
}
