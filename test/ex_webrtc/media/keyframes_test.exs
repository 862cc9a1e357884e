defmodule ExWebRTC.Media.KeyframesTest do
  # Size and profile as real encoders write them.
  use ExUnit.Case, async: true

  alias ExWebRTC.FFmpeg
  alias ExWebRTC.Media.{Video, WebM}

  @moduletag :interop
  @moduletag :tmp_dir
  @moduletag timeout: 120_000

  # Sizes that are no multiple of a block, so that the picture is cropped; odd ones where a codec has
  # them. MIME type, encoder, pixel format, size, and what the keyframe says.
  @streams [
    {"video/VP8", ~w(libvpx), "yuv420p", {161, 117}, %{profile: 0}},
    {"video/VP8", ~w(libvpx -profile:v 2), "yuv420p", {33, 7}, %{profile: 2}},
    {"video/VP9", ~w(libvpx-vp9), "yuv420p", {161, 117}, %{profile: 0}},
    {"video/VP9", ~w(libvpx-vp9), "yuv444p", {161, 117}, %{profile: 1}},
    {"video/VP9", ~w(libvpx-vp9), "yuv420p10le", {160, 120}, %{profile: 2}},
    {"video/H264", ~w(libx264 -profile:v baseline), "yuv420p", {162, 118},
     %{profile: 66, chroma_format: 1}},
    {"video/H264", ~w(libx264 -profile:v main), "yuv420p", {1920, 1080}, %{profile: 77}},
    {"video/H264", ~w(libx264 -profile:v high), "yuv420p", {162, 118}, %{profile: 100}},
    {"video/H264", ~w(libx264 -profile:v high422), "yuv422p10le", {162, 118},
     %{profile: 122, chroma_format: 2, bit_depth: 10}},
    {"video/H264", ~w(libx264), "yuv444p", {161, 117}, %{profile: 244, chroma_format: 3}},
    # Interlaced: a map unit is a pair of macroblocks.
    {"video/H264", ~w(libx264 -flags +ilme+ildct), "yuv420p", {176, 144}, %{profile: 100}},
    {"video/H265", ~w(libx265 -x265-params log-level=none), "yuv420p", {162, 118},
     %{profile: 1, tier: 0, bit_depth: 8}},
    {"video/H265", ~w(libx265 -x265-params log-level=none), "yuv420p10le", {162, 118},
     %{profile: 2, bit_depth: 10}},
    {"video/AV1", ~w(libaom-av1 -usage realtime -cpu-used 8), "yuv420p", {161, 117},
     %{profile: 0, bit_depth: 8, monochrome: 0}},
    {"video/AV1", ~w(libaom-av1 -usage realtime -cpu-used 8), "yuv444p", {161, 117},
     %{profile: 1, subsampling_x: 0}},
    {"video/AV1", ~w(libaom-av1 -usage realtime -cpu-used 8), "yuv420p10le", {160, 120},
     %{profile: 0, bit_depth: 10}}
  ]

  for {{mime_type, encoder, pixels, {width, height}, said}, index} <- Enum.with_index(@streams) do
    @stream {mime_type, encoder, pixels, width, height, said}
    test "#{index}: #{mime_type} of #{Enum.join(encoder, " ")}, #{pixels}, #{width}x#{height}",
         %{tmp_dir: directory} do
      {mime_type, encoder, pixels, width, height, said} = @stream
      path = Path.join(directory, "one.mkv")
      source = "testsrc=size=#{width}x#{height}:rate=1:duration=2"

      FFmpeg.run!(
        ~w(-f lavfi -i #{source} -frames:v 2 -g 2 -threads 1 -pix_fmt #{pixels} -c:v) ++
          encoder ++ [path]
      )

      {:ok, _tracks, reader} = WebM.Reader.open(path)
      {:ok, %{keyframe?: true, data: keyframe}, reader} = WebM.Reader.next_frame(reader)
      assert Video.keyframe?(mime_type, keyframe)
      assert {:ok, info} = Video.parse_keyframe(mime_type, keyframe)
      assert %{width: width, height: height} == Map.take(info, [:width, :height])
      assert said == Map.take(info, Map.keys(said))

      {:ok, %{keyframe?: false, data: other}, _reader} = WebM.Reader.next_frame(reader)
      refute Video.keyframe?(mime_type, other)
      assert :error == Video.parse_keyframe(mime_type, other)
    end
  end
end
