defmodule ExWebRTC.WHIP.Response do
  @moduledoc """
  What `ExWebRTC.WHIP` answers; the adapter writes it to the wire.
  """

  @enforce_keys [:status]
  defstruct [:status, headers: [], body: ""]

  @type t :: %__MODULE__{
          status: 200..599,
          headers: [{String.t(), String.t()}],
          body: iodata()
        }

  @doc "A response without a body."
  @spec empty(200..599, [{String.t(), String.t()}]) :: t()
  def empty(status, headers \\ []), do: %__MODULE__{status: status, headers: headers}

  @doc "A response for people: one line of plain text, usually why a request was refused."
  @spec text(200..599, String.t(), [{String.t(), String.t()}]) :: t()
  def text(status, text, headers \\ []) do
    with_body(status, "text/plain; charset=utf-8", [text, "\n"], headers)
  end

  @doc "A response with a body of the given type."
  @spec with_body(200..599, String.t(), iodata(), [{String.t(), String.t()}]) :: t()
  def with_body(status, content_type, body, headers \\ []) do
    %__MODULE__{status: status, headers: [{"content-type", content_type} | headers], body: body}
  end

  @doc "Adds headers."
  @spec put_headers(t(), [{String.t(), String.t()}]) :: t()
  def put_headers(%__MODULE__{} = response, headers) do
    %__MODULE__{response | headers: response.headers ++ headers}
  end
end
