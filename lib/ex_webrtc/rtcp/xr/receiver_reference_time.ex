defmodule ExWebRTC.RTCP.XR.ReceiverReferenceTime do
  @moduledoc """
  The wall clock of a receiver (RFC 3611 section 4.4).
  """

  @typedoc "`ntp_timestamp`: in units of 2⁻³² seconds since 1900."
  @type t() :: %__MODULE__{ntp_timestamp: 0..0xFFFFFFFFFFFFFFFF}

  @enforce_keys [:ntp_timestamp]
  defstruct @enforce_keys
end
