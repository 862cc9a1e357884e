defmodule Mix.Tasks.Compile.ExWebrtcNative do
  @moduledoc false
  # Builds the native library: runs cargo in `native/` and puts the result where
  # `ExWebRTC.Native` loads it from, `priv/native/libex_webrtc.so`.
  #
  # Cargo decides what to rebuild. To save its start-up time in the usual case that nothing
  # changed, a manifest per Mix environment remembers what the library was built from. Beside the
  # manifest lies a copy of the library: environments build with different features but share
  # `priv/`, and going from one to another must not cost more than a copy.

  use Mix.Task.Compiler

  @manifest "compile.ex_webrtc_native"
  # `:erlang.load_nif/2` appends `.so` on macOS as well.
  @library "libex_webrtc.so"
  @sources [
    "native/Cargo.toml",
    "native/Cargo.lock",
    "native/.cargo/config.toml",
    "native/*/Cargo.toml",
    "native/*/build.rs",
    "native/*/src/**/*.rs"
  ]

  @impl true
  def run(args) do
    features = features()
    fingerprint = fingerprint(features)

    cond do
      "--force" in args or read_manifest() != fingerprint or not File.regular?(built_library()) ->
        build(features)
        install()
        File.write!(manifest(), :erlang.term_to_binary(fingerprint))
        {:ok, []}

      installed?() ->
        {:noop, []}

      true ->
        install()
        {:ok, []}
    end
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    # A target directory that the user chose may be shared with other projects.
    target_directory =
      if System.get_env("CARGO_TARGET_DIR") in [nil, ""], do: [target_directory()], else: []

    [Path.dirname(installed_library()), Path.dirname(built_library()), manifest()]
    |> Enum.concat(target_directory)
    |> Enum.each(&File.rm_rf!/1)
  end

  defp build(features) do
    cargo = cargo!()
    check_rust_version!()
    Mix.shell().info("Building the native library of ex_webrtc (cargo build --release)")

    feature_args = if features == [], do: [], else: ["--features", Enum.join(features, ",")]

    # Progress goes to stderr, live. Stdout has one JSON message per artifact: where cargo puts
    # the library depends on its configuration, so cargo is asked.
    args =
      ~w(build --release --package ex_webrtc --message-format json-render-diagnostics) ++
        feature_args

    case System.cmd(cargo, args, cd: "native", env: cargo_environment()) do
      {messages, 0} ->
        File.mkdir_p!(Path.dirname(built_library()))
        copy_atomically!(artifact!(messages), built_library())

      {_messages, status} ->
        Mix.raise("""
        ex_webrtc: cargo could not build the native library (exit status #{status}, see above).

        What it needs: Rust #{required_rust()} or newer (https://rustup.rs), a C compiler (on Debian
        and Ubuntu: apt-get install build-essential), and, for the first build, access to crates.io.
        """)
    end
  end

  defp cargo_environment do
    # The variables of an outer `cargo run` would make this cargo think it is part of that build.
    [{"CARGO_TARGET_DIR", target_directory()}, {"CARGO_MAKEFLAGS", nil}]
  end

  defp artifact!(messages) do
    case Regex.run(~r/"([^"]*libex_webrtc\.(?:so|dylib))"/, messages) do
      [_all, path | _] ->
        path

      nil ->
        Mix.raise(
          "ex_webrtc: cargo built no dynamic library. Does this Rust target support cdylib?"
        )
    end
  end

  defp cargo! do
    System.find_executable("cargo") || rustup_cargo() ||
      Mix.raise("""
      ex_webrtc: cargo was not found. The native part of ex_webrtc is built from source.

      Install Rust #{required_rust()} or newer from https://rustup.rs, open a new shell so that `cargo`
      is in the PATH, and compile again.
      """)
  end

  # Where rustup puts cargo, for the shell in which it has just been installed.
  defp rustup_cargo do
    home = System.get_env("CARGO_HOME") || Path.expand("~/.cargo")
    path = Path.join(home, "bin/cargo")
    if File.exists?(path), do: path
  end

  defp check_rust_version! do
    rustc = System.get_env("RUSTC") || System.find_executable("rustc") || rustc_beside_cargo()

    with {text, 0} <- System.cmd(rustc, ["--version"], cd: "native", stderr_to_stdout: true),
         [_all, version] <- Regex.run(~r/^rustc (\d+\.\d+\.\d+)/, text) do
      if Version.compare(version, required_rust() <> ".0") == :lt do
        Mix.raise("""
        ex_webrtc: Rust #{required_rust()} or newer is needed, and this is Rust #{version}.

        Run `rustup update stable`, or install a newer Rust from https://rustup.rs.
        """)
      end
    else
      {text, _status} -> Mix.raise("ex_webrtc: `rustc --version` failed: #{text}")
      # A compiler that calls itself something else: cargo checks `rust-version` itself.
      nil -> :ok
    end
  end

  defp rustc_beside_cargo, do: Path.join(Path.dirname(cargo!()), "rustc")

  defp required_rust do
    [_all, version] =
      Regex.run(~r/^rust-version = "(\d+\.\d+)"/m, File.read!("native/Cargo.toml"))

    version
  end

  defp features, do: Mix.Project.config()[:ex_webrtc_native][:features] || []

  defp fingerprint(features) do
    files =
      for pattern <- @sources,
          path <- Path.wildcard(pattern, match_dot: true),
          {:ok, stat} <- [File.stat(path, time: :posix)],
          do: {path, stat.mtime, stat.size}

    environment = for name <- ~w(RUSTFLAGS CARGO_BUILD_TARGET), do: System.get_env(name)
    {features, environment, :erlang.md5(:erlang.term_to_binary(files))}
  end

  defp read_manifest do
    case File.read(manifest()) do
      {:ok, binary} -> :erlang.binary_to_term(binary)
      {:error, _reason} -> nil
    end
  rescue
    # Half written by a build that was killed.
    ArgumentError -> nil
  end

  defp installed? do
    with {:ok, installed} <- File.stat(installed_library(), time: :posix),
         {:ok, built} <- File.stat(built_library(), time: :posix) do
      {installed.mtime, installed.size} == {built.mtime, built.size}
    else
      {:error, _reason} -> false
    end
  end

  defp install do
    File.mkdir_p!(Path.dirname(installed_library()))
    copy_atomically!(built_library(), installed_library())
    # Links or copies `priv` into the build path if it was not there when compilation began.
    Mix.Project.build_structure()
  end

  # A library that some VM has mapped must not be written to; a renamed file replaces only the name.
  defp copy_atomically!(source, target) do
    temporary = target <> "." <> System.pid()
    File.cp!(source, temporary)
    File.touch!(temporary, File.stat!(source, time: :posix).mtime)
    File.rename!(temporary, target)
  end

  defp target_directory do
    case System.get_env("CARGO_TARGET_DIR") do
      unset when unset in [nil, ""] -> default_target_directory()
      directory -> Path.expand(directory)
    end
  end

  # Shared by the environments: the dependencies, most of the work, are the same in all of them.
  defp default_target_directory do
    case System.get_env("MIX_BUILD_PATH") do
      nil -> Path.join(Path.dirname(Mix.Project.build_path()), "ex_webrtc_native")
      path -> Path.join(Path.expand(path), "ex_webrtc_native")
    end
  end

  defp manifest, do: Path.join(Mix.Project.manifest_path(), @manifest)
  defp built_library, do: Path.join([Mix.Project.manifest_path(), "native", @library])
  defp installed_library, do: Path.join([File.cwd!(), "priv/native", @library])
end
