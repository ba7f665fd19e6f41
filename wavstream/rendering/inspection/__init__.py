"""What a track's audio tells of how its stream was described: its pace, the order of its bytes."""
