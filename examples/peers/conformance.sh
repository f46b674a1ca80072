#!/bin/sh
# The same for any other CI system. Further words go to the suite; its exit status is that of the suite.
set -eu
report=${REPORT:-conformance-report}
command -v jobwire-conformance >/dev/null || pip install 'jobwire[conformance]'
exec jobwire-conformance run --peer "mine=${PEER:-cmd:node peer.mjs}" --peer python --profile "${PROFILE:-ci}" \
  --format jsonl --output "$report/report.jsonl" \
  --format html --output "$report/report.html" \
  --format junit --output "$report/junit.xml" \
  --format markdown --output "$report/report.md" \
  --format badge-svg --output "$report/badge.svg" "$@"
