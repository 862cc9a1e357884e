defmodule ExWebRTC.RTP.Packet.Extension.VideoOrientation do
  @moduledoc """
  How to turn a video frame before it is shown (3GPP TS 26.114 section 7.4.5),
  `urn:3gpp:video-orientation`.
  """

  @behaviour ExWebRTC.RTP.Packet.Extension

  alias ExWebRTC.RTP.Packet.Extension

  @typedoc """
  - `camera`: the camera that looks to the user (`:front`) or away (`:back`)
  - `flip`: mirrored left to right
  - `rotation`: degrees to turn the picture clockwise
  """
  @type t() :: %__MODULE__{
          camera: :front | :back,
          flip: boolean(),
          rotation: 0 | 90 | 180 | 270
        }

  defstruct camera: :front, flip: false, rotation: 0

  @doc "Options: `:camera`, `:flip`, `:rotation`."
  @spec new(keyword()) :: t()
  def new(opts \\ []), do: struct!(__MODULE__, opts)

  @impl true
  def from_raw(%_raw{data: <<_zero::4, camera::1, flip::1, rotation::2, _padding::binary>>}) do
    camera = if camera == 1, do: :back, else: :front
    {:ok, %__MODULE__{camera: camera, flip: flip == 1, rotation: rotation * 90}}
  end

  def from_raw(%_raw{data: _}), do: {:error, :invalid_extension}

  @impl true
  def to_raw(%__MODULE__{camera: camera, flip: flip, rotation: rotation}, id)
      when rotation in [0, 90, 180, 270] do
    camera = if camera == :back, do: 1, else: 0
    flip = if flip, do: 1, else: 0
    %Extension{id: id, data: <<0::4, camera::1, flip::1, div(rotation, 90)::2>>}
  end
end
