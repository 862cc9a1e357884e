defmodule ExWebRTC.MixProject do
  use Mix.Project

  @version "0.1.0"

  def project do
    [
      app: :ex_webrtc,
      version: @version,
      elixir: "~> 1.14",
      name: "ExWebRTC",
      description: "WebRTC for the BEAM: the W3C API in Elixir over a native engine in Rust.",
      start_permanent: Mix.env() == :prod,
      elixirc_paths: elixirc_paths(Mix.env()),
      # The native compiler is a module of this project, so it comes after `:elixir`.
      compilers: Mix.compilers() ++ [:ex_webrtc_native],
      ex_webrtc_native: [features: native_features(Mix.env())],
      aliases: [check: &check/1, clean: [&load_compiler/1, "clean"]],
      preferred_cli_env: [check: :test],
      # PropEr is the system's (erlang-proper), for tests only.
      xref: [exclude: [:proper]],
      deps: [],
      package: package(),
      docs: docs()
    ]
  end

  def application do
    [
      mod: {ExWebRTC.Application, []},
      extra_applications: [:logger]
    ]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # Commands that only tests may give, such as a panic. A dependency is compiled as `:prod`, also
  # while its host is being tested, so no application ever gets them.
  defp native_features(:test), do: ["test-commands"]
  defp native_features(_env), do: []

  # `mix clean` asks the compilers to clean, but does not load the project that ours is part of.
  defp load_compiler(_args), do: Code.prepend_path(Mix.Project.compile_path())

  # Not a task under lib/: an application that depends on us must not find our `mix check`.
  defp check(args) do
    [{checks, _binary} | _] = Code.require_file("mix/check.exs", __DIR__)
    checks.run(args)
  end

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{},
      files: ~w(
        lib docs guides priv/.gitkeep priv/demo mix.exs .formatter.exs
        README.md CHANGELOG.md CONTRIBUTING.md LICENSE
        native/Cargo.toml native/Cargo.lock native/rustfmt.toml native/.cargo/config.toml
        native/engine/Cargo.toml native/engine/src
        native/driver/Cargo.toml native/driver/src
        native/ex_webrtc/Cargo.toml native/ex_webrtc/src
      )
    ]
  end

  defp docs do
    [
      main: "readme",
      extras: [
        "README.md",
        "guides/negotiating.md",
        "docs/architecture.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md"
      ]
    ]
  end
end
