"""Where every sample belongs: streams and their clocks, gaps, drift, and how far the call is known."""
