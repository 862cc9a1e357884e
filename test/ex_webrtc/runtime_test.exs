defmodule ExWebRTC.RuntimeTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.FreshVM

  test "the native threads are as many as the application is configured with" do
    vm = FreshVM.start()
    :ok = FreshVM.call(vm, Application, :put_env, [:ex_webrtc, :shards, 5])
    {:ok, _started} = FreshVM.call(vm, Application, :ensure_all_started, [:ex_webrtc])
    shards = for "ex_webrtc_" <> number <- FreshVM.call(vm, FreshVM, :threads, []), do: number
    assert Enum.sort(shards) == ["0", "1", "2", "3", "4"]
  end

  test "a number of threads that cannot be is an error of the start, which names the option" do
    vm = FreshVM.start()
    :ok = FreshVM.call(vm, Application, :put_env, [:logger, :level, :none])
    :ok = FreshVM.call(vm, Application, :put_env, [:ex_webrtc, :shards, 0])
    {:error, reason} = FreshVM.call(vm, Application, :ensure_all_started, [:ex_webrtc])
    assert inspect(reason) =~ "config :ex_webrtc, shards:"
  end
end
