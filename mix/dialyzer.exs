defmodule ExWebRTC.Dialyzer do
  @moduledoc false
  # Drives OTP's dialyzer. The PLT of what we build on is made once for each pair of OTP and Elixir,
  # and each list of applications, and kept in `.dialyzer/`.

  @applications [:erts, :kernel, :stdlib, :elixir, :iex, :logger, :mix]

  @warnings [:unknown, :error_handling]

  def run do
    ensure_dialyzer!()
    plt = plt()
    if not File.exists?(plt), do: build_plt(plt)

    options = [
      analysis_type: :succ_typings,
      plts: [String.to_charlist(plt)],
      files_rec: [String.to_charlist(Mix.Project.compile_path())],
      warnings: @warnings
    ]

    # Test support is not ours to type, and PropEr is not in the PLT.
    warnings = options |> dialyze() |> Enum.reject(&in_tests?/1)

    for warning <- warnings do
      Mix.shell().info(
        warning
        |> :dialyzer.format_warning(filename_opt: :fullpath)
        |> to_string()
      )
    end

    Mix.shell().info("#{length(warnings)} warnings")
    warnings == []
  end

  defp in_tests?({_tag, {file, _location}, _message}),
    do: file |> to_string() |> String.contains?("test/support/")

  defp build_plt(plt) do
    Mix.shell().info("Building #{Path.relative_to_cwd(plt)}, once; this takes some minutes")
    File.mkdir_p!(Path.dirname(plt))
    temporary = plt <> "." <> System.pid()

    directories =
      for application <- @applications, ebin = ebin(application), do: String.to_charlist(ebin)

    dialyze(
      analysis_type: :plt_build,
      output_plt: String.to_charlist(temporary),
      files_rec: directories
    )

    File.rename!(temporary, plt)
  end

  defp dialyze(options), do: :dialyzer.run([{:check_plt, false} | options])

  defp ebin(application) do
    case :code.lib_dir(application) do
      {:error, :bad_name} -> nil
      directory -> directory |> to_string() |> Path.join("ebin")
    end
  end

  defp plt do
    applications = @applications |> :erlang.phash2() |> Integer.to_string(36)
    name = "otp-#{System.otp_release()}-elixir-#{System.version()}-#{applications}.plt"
    Path.expand(Path.join("../.dialyzer", name), __DIR__)
  end

  defp ensure_dialyzer! do
    if not Code.ensure_loaded?(:dialyzer) do
      Mix.raise(
        "check: dialyzer is missing. On Debian and Ubuntu: apt-get install erlang-dialyzer"
      )
    end
  end
end
