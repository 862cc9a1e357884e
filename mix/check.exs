defmodule ExWebRTC.Check do
  @moduledoc false
  # `mix check`: everything that must hold before a change is taken, in the order of what fails
  # fastest. It stops at the first failure. `mix check --except dialyzer,test` leaves steps out,
  # `mix check --only format,xref` runs no others.

  @native ["--manifest-path", "native/Cargo.toml"]

  @steps [
    compile:
      {"Elixir compiles without warnings, and so does the native library",
       ~w(mix compile --force --warnings-as-errors)},
    format: {"Elixir is formatted", ~w(mix format --check-formatted)},
    xref:
      {"No cyclic dependencies between modules",
       ~w(mix xref graph --format cycles --fail-above 0)},
    fmt: {"Rust is formatted", ~w(cargo fmt --all --check) ++ @native},
    clippy:
      {"Clippy has no objections",
       ~w(cargo clippy --workspace --all-targets --all-features --quiet) ++
         @native ++ ~w(-- -D warnings)},
    cargo:
      {"Engine and driver pass their tests", {:cargo_test, ~w(cargo test --workspace --quiet)}},
    test: {"Elixir passes its tests", ~w(mix test)},
    dialyzer: {"Dialyzer finds no discrepancies", {:dialyzer, :run}}
  ]

  def run(args) do
    {opts, [], []} = OptionParser.parse(args, strict: [except: :string, only: :string])
    steps = chosen(opts)
    started = System.monotonic_time(:millisecond)

    done =
      for {name, {title, command}} <- steps do
        heading(name, title)
        {name, time(fn -> step!(name, command) end)}
      end

    summary(done, System.monotonic_time(:millisecond) - started)
  end

  defp chosen(opts) do
    except = names(opts[:except])
    only = if opts[:only], do: names(opts[:only]), else: Keyword.keys(@steps)
    Enum.filter(@steps, fn {name, _step} -> name in only and name not in except end)
  end

  defp names(nil), do: []

  defp names(text) do
    for name <- String.split(text, ",", trim: true) do
      Enum.find(Keyword.keys(@steps), &(Atom.to_string(&1) == name)) ||
        Mix.raise("There is no step #{name}. The steps: #{Enum.join(Keyword.keys(@steps), ", ")}")
    end
  end

  defp step!(name, {:dialyzer, :run}) do
    [{dialyzer, _binary} | _] = Code.require_file("dialyzer.exs", __DIR__)
    if not dialyzer.run(), do: failed!(name)
  end

  defp step!(name, {:cargo_test, command}) do
    if match?({"0\n", 0}, System.cmd("id", ["-u"])) do
      step!(name, command ++ @native)
    else
      Mix.shell().info([:yellow, "NOT RUN: tests in network namespaces, which need root", :reset])
      step!(name, command ++ @native ++ ~w(-- --skip needs_root))
    end
  end

  defp step!(name, [command | args]) do
    case System.cmd(command, args, into: IO.stream(), env: environment(command)) do
      {_output, 0} -> :ok
      {_output, _status} -> failed!(name)
    end
  rescue
    error in ErlangError ->
      Mix.raise("check: could not run #{command}: #{inspect(error.original)}")
  end

  defp environment("mix"), do: [{"MIX_ENV", "test"}]
  defp environment(_cargo), do: []

  defp failed!(name) do
    Mix.raise("check: step #{name} failed. Run it alone with: mix check --only #{name}")
  end

  defp heading(name, title) do
    Mix.shell().info([:bright, "\n==> #{name}: #{title}", :reset])
  end

  defp summary(done, total) do
    Mix.shell().info([:bright, "\n==> All checks passed in #{seconds(total)}", :reset])
    for {name, time} <- done, do: Mix.shell().info("    #{name}: #{seconds(time)}")
  end

  defp time(fun) do
    started = System.monotonic_time(:millisecond)
    fun.()
    System.monotonic_time(:millisecond) - started
  end

  defp seconds(milliseconds), do: "#{Float.round(milliseconds / 1000, 1)} s"
end
