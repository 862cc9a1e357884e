defmodule ExWebRTC.Native.StatsTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.PeerConnection

  setup do
    {offerer, answerer} = start()
    # A protocol that is also the name of a transport, and one that is nobody's atom.
    {:ok, _} = PeerConnection.create_data_channel(offerer, "first", protocol: "udp")
    {:ok, _} = PeerConnection.create_data_channel(offerer, "second", protocol: "no atom of ours")
    :ok = connect(offerer, answerer)
    # Connected means that checks succeeded, but the agent counts an exchange a step later.
    eventually(fn -> offerer |> PeerConnection.get_stats() |> succeeded() != [] end)
    %{stats: PeerConnection.get_stats(offerer)}
  end

  defp succeeded(stats),
    do: for(%{state: :succeeded} = pair <- of_type(stats, :candidate_pair), do: pair)

  defp of_type(stats, type), do: for({_id, %{type: ^type} = entry} <- stats, do: entry)

  test "entries that exist once have atoms for ids, all others strings", %{stats: stats} do
    {atoms, strings} = stats |> Map.keys() |> Enum.split_with(&is_atom/1)

    assert Enum.sort(atoms) == [
             :local_certificate,
             :peer_connection,
             :remote_certificate,
             :transport
           ]

    assert Enum.all?(strings, &is_binary/1)
    for {id, entry} <- stats, do: assert(entry.id == id)
  end

  test "enumerations of the W3C are atoms", %{stats: stats} do
    assert stats.peer_connection.signaling_state == :stable
    assert stats.transport.ice_role == :controlling
    assert stats.transport.dtls_role in [:client, :server]
    assert [%{protocol: :udp, candidate_type: :host} | _] = of_type(stats, :local_candidate)
    assert [%{state: :succeeded} | _] = succeeded(stats)
  end

  test "what a peer or the application chose is a string", %{stats: stats} do
    channels = stats |> of_type(:data_channel) |> Enum.sort_by(& &1.label)
    assert [%{protocol: "udp"}, %{protocol: "no atom of ours"}] = channels
  end

  test "all entries are of one time, in milliseconds", %{stats: stats} do
    assert [timestamp] = stats |> Map.values() |> Enum.map(& &1.timestamp) |> Enum.uniq()
    assert_in_delta timestamp, System.system_time(:millisecond), 5_000
  end

  test "a pair was last seen in the past", %{stats: stats} do
    assert [%{last_seen: _} = pair | _] = succeeded(stats)
    assert pair.last_seen <= pair.timestamp
    assert_in_delta pair.last_seen, pair.timestamp, 5_000
  end

  test "the report gives the ids that it refers to", %{stats: stats} do
    assert %{type: :candidate_pair} = pair = stats[stats.transport.selected_candidate_pair_id]
    assert %{type: :local_candidate} = stats[pair.local_candidate_id]
    assert %{type: :remote_candidate} = stats[pair.remote_candidate_id]
  end
end
