"""From a journal that grows to a file that can be fetched: rendering off the event loop, publishing, recovery."""
