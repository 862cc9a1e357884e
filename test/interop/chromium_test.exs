defmodule ExWebRTC.Interop.ChromiumTest do
  use ExUnit.Case, async: false

  import ExWebRTC.Interop
  import ExWebRTC.Peers, only: [eventually: 1, eventually: 2]

  alias ExWebRTC.{Demo, Native, PeerConnection}
  alias ExWebRTC.Interop.Browser

  @moduletag :interop
  @moduletag timeout: 120_000

  # 0 to 256 KiB, with the edges of SCTP's fragments and of the sizes of RFC 8831.
  # Of a picture, in ms.
  @longest_freeze 300
  @sizes [0, 1, 2, 1_000, 1_200, 16_384, 65_535, 65_536, 262_143, 262_144]

  setup_all do
    start_supervised!(Browser)
    :ok
  end

  setup do
    {demo, base} = start_demo()
    %{demo: demo, base: base}
  end

  for codec <- ["VP8", "H264", "VP9", "AV1"] do
    test "audio and #{codec} video come back", %{base: base, demo: demo} do
      result = chromium("echo", base, %{codec: unquote(codec)})

      assert result["state"] == "connected"
      assert result["states"] == ["connecting", "connected"]
      assert result["trickled"] |> Enum.uniq() == [204]

      %{"before" => before, "after" => later} = result
      assert later["videoCodec"] == "video/#{unquote(codec)}"
      assert later["audioCodec"] == "audio/opus"
      assert_flowing(before, later, frames: 100, audio_packets: 250)
      assert {later["width"], later["height"]} == {640, 480}
      assert later["freezes"] == before["freezes"]
      # The fake microphone beeps; silence has an energy of about 0.
      assert later["energy"] - before["energy"] > 1.0e-4

      assert [%{"kind" => "audio", "packets" => audio}, %{"kind" => "video", "packets" => video}] =
               Enum.sort_by(result["inbound"], & &1["kind"])

      assert audio > 100
      assert video > 100
      assert Enum.map(result["inbound"], & &1["rid"]) == [nil, nil]

      assert result["deleted"] == 200
      assert result["gone"]
      assert Demo.sessions(demo) == 0
    end
  end

  test "a browser that hides its addresses is found by its mDNS names", %{base: base} do
    result = chromium("mdns", base, %{mdns: true})
    assert result["candidates"] != []
    assert Enum.all?(result["candidates"], &(&1 =~ ".local"))
    assert result["state"] == "connected"
    assert result["back"] == "found"
  end

  test "messages come back as they were, from empty to 256 KiB, and 1,000 of them", %{base: base} do
    result = chromium("data", base, %{sizes: @sizes, count: 1_000})
    assert result["state"] == "connected"
    assert result["opened"]
    assert result["kinds"]
    assert result["sized"]
    assert result["arrived"] == 1_000
    assert result["whole"]
  end

  test "a channel negotiated with id 7 needs no announcement", %{base: base} do
    result = chromium("data", base, %{negotiated: 7, sizes: [0, 5, 70_000], count: 50})
    assert result["id"] == 7
    assert result["sized"]
    assert result["whole"]
  end

  test "three late viewers see a publisher, who is alone on the stage", %{base: base, demo: demo} do
    result = chromium("relay", base, %{viewers: 3})
    assert result["state"] == "connected"
    assert result["conflict"] =~ "409"
    assert length(result["viewers"]) == 3

    for viewer <- result["viewers"] do
      assert viewer["state"] == "connected"
      # Without a keyframe on request they would wait for the encoder's next one: many seconds.
      assert viewer["firstFrame"] < 2_500
      %{"before" => before, "after" => later} = viewer
      assert_flowing(before, later, frames: 90, audio_packets: 200)
      assert {later["width"], later["height"]} == {640, 480}
      assert later["freezes"] == before["freezes"]
      assert later["energy"] > before["energy"]
    end

    [_left | others] = result["viewers"]

    for viewer <- others,
        do: assert_flowing(viewer["after"], viewer["later"], frames: 30, audio_packets: 50)

    assert Enum.all?(result["inbound"], &(&1["packets"] > 100))
    assert result["ended"] == [true, true, true]
    eventually(fn -> Demo.sessions(demo) == 0 end)
  end

  test "of simulcast every layer arrives and one comes back", %{base: base} do
    result = chromium("simulcast", base)
    assert result["state"] == "connected"
    assert result["all"]

    layers = for %{"rid" => rid, "packets" => packets} <- result["inbound"], do: {rid, packets}
    assert layers |> Enum.map(&elem(&1, 0)) |> Enum.sort() == ["h", "l", "m"]
    assert Enum.all?(layers, fn {_rid, packets} -> packets > 10 end)

    %{"before" => before, "after" => later} = result
    assert result["best"]
    assert_flowing(before, later, frames: 75)
    assert {later["width"], later["height"]} == {1280, 720}
    assert later["freezes"] == before["freezes"]
    assert result["longest"] <= @longest_freeze
  end

  @tag timeout: 300_000
  test "viewers see simulcast layers change, under loss on either side, without a freeze", %{
    base: base
  } do
    test = self()
    seconds = 14

    browser =
      Task.async(fn ->
        chromium("forward", base, %{viewers: 2, seconds: seconds})
        |> tap(fn _result -> send(test, :watched) end)
      end)

    eventually(fn -> Enum.count(forwards(), & &1.rid) == 2 end, 6_000)
    for pc <- PeerConnection.get_all_running(), do: :ok = PeerConnection.set_packet_loss(pc, 3)
    change_layers(Stream.cycle(["l", "h", "m"]))

    result = Task.await(browser, 100_000)
    eventually(fn -> forwards() == [] end, 6_000)
    assert result["state"] == "connected"
    assert length(result["seen"]) == 2

    for %{"before" => before, "after" => later} = viewer <- result["seen"] do
      # Every layer was shown, of a camera of 1280 by 720.
      assert Enum.sort(viewer["widths"]) == [320, 640, 1280]
      assert later["frames"] - before["frames"] >= seconds * 8
      assert viewer["longest"] <= @longest_freeze
    end
  end

  defp forwards do
    for pc <- PeerConnection.get_all_running(),
        %{role: :source} = forward <- forwards(pc),
        do: forward
  end

  # A page that was closed takes its connection with it at any moment.
  defp forwards(pc) do
    PeerConnection.get_forwards(pc)
  catch
    :exit, _ended -> []
  end

  defp change_layers(rids) do
    Enum.reduce_while(rids, :ok, fn rid, :ok ->
      for %{ref: ref} <- forwards(), do: PeerConnection.set_forward_layer(ref, rid)

      receive do
        :watched -> {:halt, :ok}
      after
        2_000 -> {:cont, :ok}
      end
    end)
  end

  test "a session takes new tracks, holds, and restarts ICE without losing its picture", %{
    base: base
  } do
    result = chromium("renegotiation", base)
    assert result["statuses"] == [200, 200, 200, 200]
    assert result["playing"]["frames"] >= 45
    assert result["silent"]
    assert result["again"]["frames"] >= result["atResume"]["frames"] + 45
    assert result["newCredentials"]
    assert result["moved"]
    assert_flowing(result["before"], result["after"], frames: 60, audio_packets: 100)
    assert result["after"]["freezes"] == result["before"]["freezes"]
    assert result["connection"] == "connected"
    assert result["states"] == ["connecting", "connected"]
    assert result["directions"] == ["sendrecv", "sendrecv"]
  end

  # Whichever side is lied to finds out, in either DTLS role.
  for mangled <- ["offer", "answer"], setup <- ["active", "passive"] do
    test "a wrong fingerprint in the #{mangled} ends the session, the browser being #{setup}", %{
      base: base,
      demo: demo
    } do
      trace_sessions()
      options = %{mangled: unquote(mangled), setup: unquote(setup)}
      result = chromium("fingerprint", base, options)

      assert result["gone"]
      assert result["received"]["frames"] == 0
      assert result["received"]["audioPackets"] == 0
      assert result["messages"] == 0
      refute result["channel"] == "open"
      refute "connected" in result["states"]
      assert Demo.sessions(demo) == 0

      told = told_to_sessions()
      states = for {:connection_state_change, state} <- told, do: state
      # A peer that finds the lie itself says so with an alert: that ends the session as well.
      assert states == [:new, :connecting, :failed]
      refute Enum.any?(told, &(elem(&1, 0) in [:rtp, :rtcp, :data, :data_channel]))
    end
  end

  test "a browser that just goes away leaves nothing", %{base: base, demo: demo} do
    processes = length(Process.list())
    chromium("data", base, %{sizes: [1], count: 1})
    # It said no goodbye: its silence has to be noticed.
    assert Demo.sessions(demo) == 1
    eventually(fn -> Native.connections() == 1 end)
    eventually(fn -> Demo.sessions(demo) == 0 end, 4_000)
    eventually(fn -> Native.connections() == 0 end)
    eventually(fn -> length(Process.list()) <= processes end)
  end

  describe "the page" do
    test "echoes, chats, draws, publishes and watches", %{base: base, demo: demo} do
      result =
        chromium("page", base, %{
          generated: true,
          colorScheme: "dark",
          samples: 8,
          screenshot: artifact("demo.png")
        })

      assert ["Hello, Elixir!", "Hello, Elixir!\nback after " <> _, _, _] = result["messages"]
      assert result["states"] =~ "connected"
      assert result["states"] =~ "VP8"
      assert result["charts"]["Received"] =~ ~r/Browser [\d.]+ Mbit\/s, Elixir [\d.]+ Mbit\/s/
      assert result["charts"]["Round trip"] =~ ~r/Browser [\d.]+ ms, Elixir [\d.]+ ms/
      assert result["charts"]["Packet loss"] =~ ~r/Browser [\d.]+ %, Elixir [\d.]+ %/
      assert [width, height, time] = result["size"]
      assert width >= 320 and height >= 180 and time > 3
      assert result["wide"]
      assert result["statuses"] == [200, 200, 200]
      assert result["playing"]
      assert result["error"] == []
      assert result["facts"] =~ "Elixir says"
      assert result["watched"]
      assert result["missing"] =~ "Publish it first"
      eventually(fn -> Demo.sessions(demo) == 0 end)
    end

    test "fits a phone", %{base: base} do
      options = %{
        viewport: %{width: 390, height: 844},
        screenshot: artifact("phone.png")
      }

      result = chromium("page", base, options)
      assert result["wide"]
      assert result["states"] =~ "connected"
    end
  end

  # So much more of each; the scenario waits 12 seconds for it, on a busy machine 8 frames a second.
  defp assert_flowing(before, later, least) do
    assert later["frames"] - before["frames"] >= least[:frames]

    if count = least[:audio_packets],
      do: assert(later["audioPackets"] - before["audioPackets"] >= count)
  end

  # Processes that start from here on tell this one what they receive.
  defp trace_sessions, do: :erlang.trace(:new_processes, true, [:receive])

  defp told_to_sessions do
    :erlang.trace(:all, false, [:all])
    reference = :erlang.trace_delivered(:all)
    collect(reference, [])
  end

  defp collect(reference, told) do
    receive do
      {:trace, _session, :receive, {:ex_webrtc, pc, message}} when is_pid(pc) ->
        collect(reference, [as_tuple(message) | told])

      {:trace, _process, :receive, _other} ->
        collect(reference, told)

      {:trace_delivered, :all, ^reference} ->
        Enum.reverse(told)
    end
  end

  defp as_tuple(message) when is_tuple(message), do: message
  defp as_tuple(message), do: {message}
end
