defmodule ExWebRTC.Application do
  @moduledoc false

  use Application

  # Connections are not supervised here: whoever starts one links or supervises it.
  @impl true
  def start(_type, _args) do
    children = [
      ExWebRTC.Runtime,
      {Registry, keys: :unique, name: ExWebRTC.Registry},
      ExWebRTC.Cluster,
      ExWebRTC.Cluster.Watcher,
      ExWebRTC.Handles
      | ExWebRTC.Forward.Relay.child_specs()
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: ExWebRTC.Supervisor)
  end
end
