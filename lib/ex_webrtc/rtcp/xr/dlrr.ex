defmodule ExWebRTC.RTCP.XR.DLRR do
  @moduledoc """
  The answer to receiver reference times: when they were received (RFC 3611 section 4.5).
  """

  @typedoc """
  - `ssrc`: the receiver that is answered
  - `last_rr`: the middle 32 bits of the NTP time of its last report, 0 without
  - `delay`: time since that report, in 1/65,536 seconds
  """
  @type report() :: %{ssrc: 0..0xFFFFFFFF, last_rr: 0..0xFFFFFFFF, delay: 0..0xFFFFFFFF}

  @type t() :: %__MODULE__{reports: [report()]}

  @enforce_keys [:reports]
  defstruct @enforce_keys
end
