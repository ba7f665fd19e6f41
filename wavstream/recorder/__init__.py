"""From a recording's start to its published file: the journal is folded into a file that grows, and published."""
