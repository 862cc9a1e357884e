defmodule ExWebRTC.Property do
  @moduledoc """
  PropEr properties as ExUnit tests.

      use ExWebRTC.Property

      property "a list reversed twice is the list", [list <- :proper_types.list()] do
        Enum.reverse(Enum.reverse(list)) == list
      end

  The body is a boolean, or an ExUnit assertion that raises. A failure shows the shrunk
  counterexample and the seed; `PROPERTY_SEED=a,b,c` runs with that seed again, and
  `PROPERTY_RUNS=n` sets the number of cases (200 by default, or the option `runs`).

  PropEr comes from Debian's `erlang-proper`. Where the code path lacks it, it is looked for beside
  the libraries of OTP.
  """

  @default_runs 200

  defmacro __using__(_opts) do
    quote do
      import ExWebRTC.Property, only: [property: 3, property: 4]
      require ExWebRTC.Property
    end
  end

  @doc "Defines a test that checks the body for many values of the generators, `name <- generator`."
  defmacro property(name, generators, opts \\ [], do: body) do
    variables = for {:<-, _meta, [variable, _generator]} <- generators, do: variable
    types = for {:<-, _meta, [_variable, generator]} <- generators, do: generator

    quote do
      test unquote(name) do
        ExWebRTC.Property.check(
          unquote(types),
          fn unquote(variables) -> unquote(body) end,
          unquote(opts)
        )
      end
    end
  end

  @doc false
  @spec check([term()], ([term()] -> term()), keyword()) :: :ok
  def check(types, fun, opts \\ []) do
    load_proper!()
    seed = opts[:seed] || seed()

    # PropEr has no option for the seed, but runs its set-up in the process that generates.
    property =
      {:setup,
       fn ->
         :rand.seed(:exsplus, seed)
         fn -> :ok end
       end, :proper.forall(types, &holds?(fun, &1))}

    case :proper.quickcheck(property, [:quiet, :long_result, {:numtests, runs(opts)}]) do
      true -> :ok
      {:error, reason} -> raise "PropEr could not check the property: #{inspect(reason)}"
      [counterexample | _] -> fail(fun, counterexample, seed)
    end
  end

  # PropEr would print what is raised; the test shall show it, once, for the smallest case.
  defp holds?(fun, values) do
    fun.(values) != false
  rescue
    _exception -> false
  end

  defp fail(fun, counterexample, seed) do
    cause =
      try do
        fun.(counterexample)
        "It returned false."
      rescue
        exception -> Exception.format(:error, exception, __STACKTRACE__)
      end

    raise ExUnit.AssertionError,
      message: """
      The property does not hold for:

      #{Enum.map_join(counterexample, "\n", &inspect(&1, limit: :infinity))}

      #{cause}
      Run again with PROPERTY_SEED=#{seed |> Tuple.to_list() |> Enum.join(",")}
      """
  end

  defp runs(opts) do
    case System.get_env("PROPERTY_RUNS") do
      nil -> Keyword.get(opts, :runs, @default_runs)
      text -> String.to_integer(text)
    end
  end

  defp seed do
    case System.get_env("PROPERTY_SEED") do
      nil -> {random(), random(), random()}
      text -> text |> String.split(",") |> Enum.map(&String.to_integer/1) |> List.to_tuple()
    end
  end

  defp random, do: :rand.uniform(1_000_000)

  defp load_proper! do
    if not Code.ensure_loaded?(:proper) do
      "#{:code.lib_dir()}/proper*/ebin" |> Path.wildcard() |> Enum.each(&Code.append_path/1)
    end

    if not Code.ensure_loaded?(:proper),
      do: raise("PropEr is missing: on Debian and Ubuntu, apt-get install erlang-proper")
  end
end
