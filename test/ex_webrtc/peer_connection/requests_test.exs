defmodule ExWebRTC.PeerConnection.RequestsTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.PeerConnection.Requests

  test "a request is given back under its id, once" do
    {first, requests} = Requests.put(Requests.new(), :first)
    {second, requests} = Requests.put(requests, :second)

    assert {{:ok, :first}, requests} = Requests.pop(requests, first)
    assert {:error, requests} = Requests.pop(requests, first)
    assert {{:ok, :second}, _requests} = Requests.pop(requests, second)
  end

  test "no request gets the id of one before it, or the id that nobody waits for" do
    {ids, _requests} =
      Enum.map_reduce(1..100, Requests.new(), fn n, requests ->
        {id, requests} = Requests.put(requests, n)
        {_entry, requests} = Requests.pop(requests, id)
        {id, requests}
      end)

    assert Enum.uniq(ids) == ids
    refute Requests.unanswered() in ids
  end

  test "all that wait are given back, oldest first, and none is left" do
    requests =
      Enum.reduce(1..50, Requests.new(), fn n, requests ->
        {_id, requests} = Requests.put(requests, n)
        requests
      end)

    assert {entries, requests} = Requests.pop_all(requests)
    assert entries == Enum.to_list(1..50)
    assert {[], _requests} = Requests.pop_all(requests)
  end
end
