"""Where every sample belongs: track clocks, gaps, drift, pauses and the order of writing."""
