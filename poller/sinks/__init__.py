"""Where events go: a file for each sink, its settings beside it. Which there are, `registry` says."""
