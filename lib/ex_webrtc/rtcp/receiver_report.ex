defmodule ExWebRTC.RTCP.ReceiverReport do
  @moduledoc """
  A receiver report (RFC 3550 section 6.4.2), from who has sent nothing lately.
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.ReceptionReport

  @typedoc "As in `t:ExWebRTC.RTCP.SenderReport.t/0`."
  @type t() :: %__MODULE__{
          ssrc: 0..0xFFFFFFFF,
          reports: [ReceptionReport.t()],
          profile_extension: binary()
        }

  @enforce_keys [:ssrc]
  defstruct @enforce_keys ++ [reports: [], profile_extension: <<>>]

  @impl true
  def encode_body(%__MODULE__{ssrc: ssrc, profile_extension: extension} = report)
      when is_uint32(ssrc) and is_binary(extension) do
    reports = ReceptionReport.encode_all(report.reports)
    {{length(report.reports), 201}, <<ssrc::32, reports::binary, extension::binary>>}
  end

  def encode_body(%__MODULE__{} = report),
    do: raise_wrong_field!(report, ssrc: 0..0xFFFFFFFF, profile_extension: :binary)

  @impl true
  def decode_body(count, <<ssrc::32, rest::binary>>) do
    with {:ok, reports, profile_extension} <- ReceptionReport.decode_all(count, rest) do
      {:ok, %__MODULE__{ssrc: ssrc, reports: reports, profile_extension: profile_extension}}
    end
  end

  def decode_body(_count, _body), do: :error
end
