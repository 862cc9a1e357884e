[
  inputs: [
    "{mix,.formatter}.exs",
    "mix/*.exs",
    "{bench,config,examples,lib,test}/**/*.{ex,exs}"
  ],
  line_length: 98
]
