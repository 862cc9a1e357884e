defmodule ExWebRTC.NegotiatingTest do
  # Programs written for the package `ex_webrtc` negotiate like this: offers, answers and candidates
  # go as JSON over a web socket, whatever that is. The other side is a connection that plays the
  # browser; it speaks JSON only.
  use ExUnit.Case, async: true

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}

  # A name under .invalid never resolves (RFC 2606): a server that cannot be reached.
  @unreachable [%{urls: "stun:stun.example.invalid:19302"}]

  setup do
    test = self()
    browser = start_supervised!({Task, fn -> browser(test) end})
    Process.put(:browser, browser)
    %{browser: browser}
  end

  test "an Elixir peer answers a browser's offer and both connect, candidates trickled" do
    {:ok, pc} = ExWebRTC.PeerConnection.start_link(ice_servers: @unreachable)

    receive do
      {:web_socket, {:offer, json}} ->
        offer =
          json
          |> Jason.decode!()
          |> ExWebRTC.SessionDescription.from_json()

        ExWebRTC.PeerConnection.set_remote_description(pc, offer)
    end

    {:ok, answer} = ExWebRTC.PeerConnection.create_answer(pc)
    :ok = PeerConnection.set_local_description(pc, answer)

    answer
    |> ExWebRTC.SessionDescription.to_json()
    |> Jason.encode!()
    |> web_socket_send_answer()

    # One for each of the browser's tracks.
    kinds =
      for _track <- 1..2 do
        receive do
          {:ex_webrtc, ^pc, {:track, %ExWebRTC.MediaStreamTrack{kind: kind}}} -> kind
        end
      end

    assert Enum.sort(kinds) == [:audio, :video]

    exchange_candidates(pc, [])
    assert_receive :browser_connected, 10_000
    assert PeerConnection.get_connection_state(pc) == :connected
    assert Process.alive?(pc)
  end

  test "a single URL that is no server does no harm to a connection without other candidates" do
    {:ok, pc} = ExWebRTC.PeerConnection.start_link(ice_servers: @unreachable)
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)

    # Host candidates come at once, and gathering ends.
    assert_receive {:ex_webrtc, ^pc, {:ice_candidate, %{candidate: "candidate:" <> _rest}}}
    assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 15_000
  end

  # The snippet, again and again, until they are connected and the browser has no more.
  defp exchange_candidates(_pc, [:connected, :no_more_candidates]), do: :ok

  defp exchange_candidates(pc, seen) do
    receive do
      {:ex_webrtc, ^pc, {:ice_candidate, candidate}} ->
        candidate
        |> ExWebRTC.ICECandidate.to_json()
        |> Jason.encode!()
        |> web_socket_send_ice_candidate()

        exchange_candidates(pc, seen)

      {:web_socket, {:ice_candidate, json}} ->
        candidate =
          json
          |> Jason.decode!()
          |> ExWebRTC.ICECandidate.from_json()

        assert :ok = ExWebRTC.PeerConnection.add_ice_candidate(pc, candidate)
        exchange_candidates(pc, if(json == "null", do: seen ++ [:no_more_candidates], else: seen))

      {:ex_webrtc, _from, {:connection_state_change, :connected}} ->
        exchange_candidates(pc, [:connected | seen])
    after
      10_000 -> flunk("of both, only this came: #{inspect(seen)}")
    end
  end

  defp web_socket_send_answer(json), do: send(Process.get(:browser), {:answer, json})

  defp web_socket_send_ice_candidate(json),
    do: send(Process.get(:browser), {:ice_candidate, json})

  # What `pc.addTrack`, `createOffer`, `onicecandidate` and so on of the page do.
  defp browser(app) do
    {:ok, pc} = PeerConnection.start_link()
    {:ok, _sender} = PeerConnection.add_track(pc, MediaStreamTrack.new(:audio))
    {:ok, _sender} = PeerConnection.add_track(pc, MediaStreamTrack.new(:video))
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    json = Jason.encode!(%{"type" => "offer", "sdp" => offer.sdp})
    send(app, {:web_socket, {:offer, json}})
    browser_loop(app, pc)
  end

  defp browser_loop(app, pc) do
    receive do
      {:ex_webrtc, ^pc, {:ice_candidate, %{candidate: ""}}} ->
        :ok

      {:ex_webrtc, ^pc, {:ice_candidate, candidate}} ->
        json = candidate |> ExWebRTC.ICECandidate.to_json() |> Jason.encode!()
        send(app, {:web_socket, {:ice_candidate, json}})

      # `event.candidate` of the last event is null.
      {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}} ->
        send(app, {:web_socket, {:ice_candidate, "null"}})

      {:ex_webrtc, ^pc, {:connection_state_change, :connected}} ->
        send(app, :browser_connected)

      {:answer, json} ->
        %{"type" => "answer", "sdp" => _sdp} = answer = Jason.decode!(json)
        answer = ExWebRTC.SessionDescription.from_json(answer)
        :ok = PeerConnection.set_remote_description(pc, answer)

      {:ice_candidate, json} ->
        candidate = json |> Jason.decode!() |> ExWebRTC.ICECandidate.from_json()
        :ok = PeerConnection.add_ice_candidate(pc, candidate)

      _other ->
        :ok
    end

    browser_loop(app, pc)
  end
end
