defmodule ExWebRTC.RTCP.SenderReport do
  @moduledoc """
  A sender report (RFC 3550 section 6.4.1): what a source has sent, and how its RTP timestamps
  relate to the wall clock.
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.ReceptionReport

  @typedoc """
  - `ntp_timestamp`: when it was sent, in units of 2⁻³² seconds since 1900
  - `rtp_timestamp`: the same moment on the RTP clock
  - `reports`: about the sources that the sender receives, 31 at most
  - `profile_extension`: what follows the reports, whole words
  """
  @type t() :: %__MODULE__{
          ssrc: 0..0xFFFFFFFF,
          ntp_timestamp: 0..0xFFFFFFFFFFFFFFFF,
          rtp_timestamp: 0..0xFFFFFFFF,
          packet_count: 0..0xFFFFFFFF,
          octet_count: 0..0xFFFFFFFF,
          reports: [ReceptionReport.t()],
          profile_extension: binary()
        }

  @enforce_keys [:ssrc, :ntp_timestamp, :rtp_timestamp, :packet_count, :octet_count]
  defstruct @enforce_keys ++ [reports: [], profile_extension: <<>>]

  @impl true
  def encode_body(
        %__MODULE__{
          ssrc: ssrc,
          ntp_timestamp: ntp_timestamp,
          rtp_timestamp: rtp_timestamp,
          packet_count: packet_count,
          octet_count: octet_count,
          profile_extension: extension
        } = report
      )
      when is_uint32(ssrc) and is_uint64(ntp_timestamp) and is_uint32(rtp_timestamp) and
             is_uint32(packet_count) and is_uint32(octet_count) and is_binary(extension) do
    body =
      <<ssrc::32, ntp_timestamp::64, rtp_timestamp::32, packet_count::32, octet_count::32,
        ReceptionReport.encode_all(report.reports)::binary, extension::binary>>

    {{length(report.reports), 200}, body}
  end

  def encode_body(%__MODULE__{} = report) do
    raise_wrong_field!(report,
      ssrc: 0..0xFFFFFFFF,
      ntp_timestamp: 0..0xFFFFFFFFFFFFFFFF,
      rtp_timestamp: 0..0xFFFFFFFF,
      packet_count: 0..0xFFFFFFFF,
      octet_count: 0..0xFFFFFFFF,
      profile_extension: :binary
    )
  end

  @impl true
  def decode_body(
        count,
        <<ssrc::32, ntp_timestamp::64, rtp_timestamp::32, packet_count::32, octet_count::32,
          rest::binary>>
      ) do
    with {:ok, reports, profile_extension} <- ReceptionReport.decode_all(count, rest) do
      {:ok,
       %__MODULE__{
         ssrc: ssrc,
         ntp_timestamp: ntp_timestamp,
         rtp_timestamp: rtp_timestamp,
         packet_count: packet_count,
         octet_count: octet_count,
         reports: reports,
         profile_extension: profile_extension
       }}
    end
  end

  def decode_body(_count, _body), do: :error
end
