#!/usr/bin/env bash
# Checks bundles in any CI system. It takes what the GitHub action takes, as environment variables:
#
#   BUNDLES   folders of bundles, separated by spaces; patterns are expanded
#   DATA      images to compare on (optional; needs torch and the exported run)
#   OPTIONS   further options of arbex verify (optional)
#   REPORT    folder for the reports (optional)
#
# It ends with the exit code of arbex verify: 0 if everything passed, 1 if something failed or is undecided.
set -euo pipefail

report=${REPORT:-arbex-report}
mkdir -p "$report"
# The variables hold several words on purpose.
# shellcheck disable=SC2086
arbex verify $BUNDLES ${DATA:+--data "$DATA"} ${OPTIONS:-} \
  --report "$report/parity.html" --report "$report/parity.md" --report "$report/parity.xml" \
  --json > "$report/parity.json"
