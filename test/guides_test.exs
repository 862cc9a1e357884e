defmodule ExWebRTC.GuidesTest do
  # What a reader copies works: the code is taken out of the text and run.
  use ExUnit.Case, async: true

  import ExWebRTC.{Documentation, Peers}

  alias ExWebRTC.{ICECandidate, MediaStreamTrack, PeerConnection, RTP, SessionDescription}

  @timeout 10_000

  @call with code = Enum.join(elixir_blocks("guides/negotiating.md"), "\n"),
             [{module, _binary}] <- Code.compile_string("defmodule GuideCall do\n#{code}\nend"),
             do: module

  @echo with [code | _more] <- elixir_blocks("README.md"),
             [{module, _binary}] <- Code.compile_string(code),
             do: module

  describe "guides/negotiating.md" do
    setup do: %{call: start_supervised!({@call, self()}), browser: browser([:audio, :video])}

    test "answers a browser and connects", %{call: call, browser: browser} do
      {:ok, offer} = PeerConnection.create_offer(browser)
      :ok = PeerConnection.set_local_description(browser, offer)
      send(call, {:from_browser, SessionDescription.to_json(offer)})
      assert_receive {:to_browser, %{"type" => "answer"} = answer}, @timeout

      :ok = PeerConnection.set_remote_description(browser, SessionDescription.from_json(answer))

      trickle(call, browser)
      send(call, {:from_browser, %{"candidate" => nil}})
      eventually(fn -> :sys.get_state(call).state == :connected end)
      assert :sys.get_state(call).tracks |> Map.values() |> Enum.sort() == [:audio, :video]
    end

    test "tells what is wrong with an offer, and answers the next", %{
      call: call,
      browser: browser
    } do
      send(call, {:from_browser, %{"type" => "offer", "sdp" => "nonsense"}})
      assert_receive {:to_browser, %{"error" => "invalid_sdp_syntax"}}, @timeout

      {:ok, offer} = PeerConnection.create_offer(browser)
      send(call, {:from_browser, SessionDescription.to_json(offer)})
      assert_receive {:to_browser, %{"type" => "answer"}}, @timeout
    end
  end

  describe "README.md" do
    setup do: %{echo: start_supervised!(@echo), browser: browser([:video])}

    test "its code echoes media and messages", %{echo: echo, browser: browser} do
      {:ok, channel} = PeerConnection.create_data_channel(browser, "chat")
      {:ok, offer} = PeerConnection.create_offer(browser)
      :ok = PeerConnection.set_local_description(browser, offer)
      assert_receive {:ex_webrtc, ^browser, {:ice_gathering_state_change, :complete}}, @timeout
      offer = PeerConnection.get_local_description(browser)

      answer = GenServer.call(echo, {:offer, SessionDescription.to_json(offer)})
      :ok = PeerConnection.set_remote_description(browser, SessionDescription.from_json(answer))
      assert_receive {:ex_webrtc, ^browser, {:connection_state_change, :connected}}, @timeout

      assert_receive {:ex_webrtc, ^browser, {:data_channel_state_change, _ref, :open}}, @timeout
      :ok = PeerConnection.send_data(browser, channel.ref, "hello")
      assert_receive {:ex_webrtc, ^browser, {:data, _ref, "hello"}}, @timeout

      [%{sender: %{track: sent}, receiver: %{track: received}}] =
        PeerConnection.get_transceivers(browser)

      packet = RTP.Packet.new("frame", payload_type: 96, timestamp: 90_000, marker: true)
      received_id = received.id

      # The first may come before the echo is connected.
      for _try <- 1..20, do: PeerConnection.send_rtp(browser, sent.id, packet)

      assert_receive {:ex_webrtc, ^browser,
                      {:rtp, ^received_id, nil, %{payload: "frame", marker: true}}},
                     @timeout
    end
  end

  defp browser(kinds) do
    {:ok, pc} = PeerConnection.start_link()
    for kind <- kinds, do: {:ok, _} = PeerConnection.add_track(pc, MediaStreamTrack.new(kind))
    pc
  end

  defp trickle(call, browser) do
    receive do
      {:ex_webrtc, ^browser, {:ice_candidate, candidate}} ->
        send(call, {:from_browser, %{"candidate" => ICECandidate.to_json(candidate)}})
        trickle(call, browser)

      {:to_browser, %{"candidate" => json}} ->
        :ok = PeerConnection.add_ice_candidate(browser, ICECandidate.from_json(json))
        trickle(call, browser)

      {:ex_webrtc, ^browser, {:connection_state_change, :connected}} ->
        :ok
    after
      @timeout -> flunk("they did not connect")
    end
  end
end
