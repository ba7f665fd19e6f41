#!/bin/sh
# Writes a line into a list for each file that wavstream has put into its store: id, time, seconds, store and key.
#
#     on_stored = ["/opt/wavstream/on_stored.sh", "/var/lib/wavstream/stored.tsv"]
#
# It may be run twice for one file, so a file that has its line gets no second one. With exit code 0 it is done; with any
# other it is run again later, and the end of what it wrote to standard error is in the log.
set -eu

list=$1
exec 9>>"$list"
flock 9 # others of it may run at the same time

if grep -q "^$WAVSTREAM_RECORDING_ID" "$list"; then
    exit 0
fi
printf '%s\t%s\t%s\t%s/%s\n' "$WAVSTREAM_RECORDING_ID" "$WAVSTREAM_CREATED" \
    "$((WAVSTREAM_DURATION_MS / 1000))" "$WAVSTREAM_STORE" "$WAVSTREAM_KEY" >>"$list"
