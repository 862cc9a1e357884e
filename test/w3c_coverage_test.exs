defmodule ExWebRTC.W3CCoverageTest do
  # docs/w3c_coverage.md names what there is.
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  @page Path.expand("../docs/w3c_coverage.md", __DIR__)
  @root Path.expand("..", __DIR__)

  # Rows of tables, as lists of their cells.
  defp rows do
    for "|" <> row <- File.stream!(@page),
        cells = row |> String.split("|") |> Enum.map(&String.trim/1) |> Enum.drop(-1),
        not String.starts_with?(hd(cells), "---"),
        do: cells
  end

  defp code(text), do: for([_all, code] <- Regex.scan(~r/`([^`]+)`/, text), do: code)

  # Short name to path; "neg/…" stands for a directory.
  defp files do
    for [name, path] <- rows(), path = path |> code() |> List.first(), path != nil, into: %{} do
      {name, path}
    end
  end

  defp path(short, files) do
    case String.split(short, "/") do
      [name] -> Map.fetch!(files, name)
      [room, name] -> String.replace(Map.fetch!(files, room <> "/…"), "…", name)
    end
  end

  test "every test that the page names exists" do
    files = files()

    tests =
      for cells <- rows(),
          code <- cells |> List.last() |> code(),
          [_all, short, name] <- Regex.scan(~r/^([a-z_\/]+): (.+)$/, code),
          do: {short, name}

    assert length(tests) > 60

    for {short, name} <- Enum.uniq(tests) do
      text = @root |> Path.join(path(short, files)) |> File.read!()

      assert text =~ "test \"#{name}\"" or text =~ "property \"#{name}\"" or
               text =~ "fn #{name}(",
             "#{short} has no test #{inspect(name)}"
    end
  end

  test "every function that the page names exists" do
    functions =
      for cells <- rows(),
          code <- Enum.flat_map(cells, &code/1),
          [_all, module, name, arity] <-
            Regex.scan(~r/^((?:[A-Z]\w*\.)*)([a-z_]+)\/(\d)$/, code),
          do: {module(module), name, String.to_integer(arity)}

    assert length(functions) > 50

    for {module, name, arity} <- Enum.uniq(functions) do
      exported =
        for {function, arity} <- module.__info__(:functions), do: {to_string(function), arity}

      assert {name, arity} in exported, "#{inspect(module)} has no #{name}/#{arity}"
    end
  end

  defp module(""), do: PeerConnection
  defp module(name), do: name |> String.trim_trailing(".") |> String.split(".") |> Module.concat()

  test "whatever is there is shown by a test, whatever is not has a reason" do
    members =
      for [member, here, shown] <- rows(),
          member not in ["W3C", "type"],
          do: {member, here, shown}

    members = Enum.reject(members, fn {_member, here, _shown} -> here =~ ~r/^(`\w+` )*`\w+`$/ end)
    assert length(members) > 80

    for {member, here, shown} <- members do
      if String.starts_with?(here, "–"),
        do: assert(String.length(here) > 5 or shown != "", "#{member} has no reason"),
        else: assert(code(shown) != [], "#{member} is not shown")
    end
  end

  test "the configuration is that of the options, then what was negotiated" do
    options = [video_codecs: [:vp9, :vp8], ice_lite: false]
    {offerer, answerer} = start([video_codecs: [:vp8]], options)

    assert %{video_extensions: [], ice_lite: false} =
             before = PeerConnection.get_configuration(answerer)

    assert ["video/VP9", "video/VP8"] == Enum.map(before.video_codecs, & &1.mime_type)

    {:ok, _sender} = PeerConnection.add_track(offerer, MediaStreamTrack.new(:video))
    {:ok, offer} = PeerConnection.create_offer(offerer)
    # As a peer numbers them that has other ideas.
    sdp =
      offer.sdp
      |> String.replace(~r/^((?:m|a=rtpmap|a=fmtp|a=rtcp-fb)[:=].*?)\b96\b/m, "\\g{1}120")
      |> String.replace("extmap:9 ", "extmap:7 ")

    :ok = PeerConnection.set_remote_description(answerer, %{offer | sdp: sdp})
    :ok = PeerConnection.set_local_description(answerer)

    later = PeerConnection.get_configuration(answerer)
    assert %{payload_type: 120} = Enum.find(later.video_codecs, &(&1.mime_type == "video/VP8"))
    assert %{id: 7, uri: "urn:ietf:params:rtp-hdrext:sdes:mid"} in later.video_extensions
  end

  test "every documented field of the statistics is there" do
    documented =
      for [type, fields, _absent] <- rows(), fields =~ ~r/^(`\w+` )*`\w+`$/, into: %{} do
        {String.replace(type, "-", "_"), MapSet.new(code(fields))}
      end

    assert map_size(documented) == 12

    {first, second} = start()
    tracks = for kind <- [:audio, :video], do: MediaStreamTrack.new(kind)
    for track <- tracks, do: {:ok, _sender} = PeerConnection.add_track(first, track)
    {:ok, _channel} = PeerConnection.create_data_channel(first, "counted")
    :ok = connect(first, second)
    numbers = :counters.new(1, [])

    eventually(fn ->
      :counters.add(numbers, 1, 1)
      number = :counters.get(numbers, 1)

      for track <- tracks do
        packet = Packet.new("counted", sequence_number: number, timestamp: number * 3_000)
        :ok = PeerConnection.send_rtp(first, track.id, packet)
      end

      # Some come with reports only.
      missing(documented, [first, second]) == %{}
    end)
  end

  defp missing(documented, pcs) do
    there =
      for pc <- pcs, {_id, entry} <- PeerConnection.get_stats(pc), reduce: %{} do
        there ->
          keys = MapSet.new(Map.keys(entry), &to_string/1)
          Map.update(there, to_string(entry.type), keys, &MapSet.union(&1, keys))
      end

    for {type, fields} <- documented,
        absent = MapSet.difference(fields, Map.get(there, type, MapSet.new())),
        MapSet.size(absent) > 0,
        into: %{},
        do: {type, absent}
  end
end
